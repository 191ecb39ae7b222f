package Gate;

# What a test file says: start the test servers, mint tokens, ask httpd, judge the answer.
#
#   use Gate;
#   my $httpd = httpd(issuer_section('ci', 'GateRole deployer ref=main') . gated('/', 'Require valid-user'));
#   passes($httpd->get('/x', token => mint(issuer => 'ci')), 'a good token passes');
#   refused($httpd->get('/x'), 401, 'token_missing', 'no token is refused');
#   finish();

use strict;
use warnings;
use Exporter 'import';
use JSON ();
use Test::More;
use Gate::Audit  ();
use Gate::Httpd  ();
use Gate::Client ();
use Gate::Process ();

binmode Test::More->builder->$_, ":encoding(UTF-8)" for qw(output failure_output todo_output);

our @EXPORT = (
    qw(httpd configtest issuer_section gated issuer_base upstream_base mint control counts),
    qw(passes refused remember expect_in_log finish upstream_saw), @Test::More::EXPORT
);

our @httpds;    # all that were started, for finish()
my (%server, @tokens);
# The MPMs' own words: a child that outlived a graceful restart; a worker that finds its socket closed, as event does
# to all of them where it is stopped at once.
my @expected = (qr/AH(?:00291|00167): long lost child came home/,
    qr/\[mpm_event:error\] .*\(9\)Bad file descriptor: AH(?:10503|03465|03093|03092): process_(?:socket|lingering_close): apr_pollset_add failure/);

sub server {
    my ($what) = @_;
    $server{$what} ||= Gate::Process->start_listening($ENV{GATE_TESTKIT}, $what, '--listen', '127.0.0.1:0');
    return 'http://' . $server{$what}->address;
}

# The addresses of the test issuer (issuers are paths of it) and of the upstream.
sub issuer_base   { return server('issuer') }
sub upstream_base { return server('upstream') }

# Steers the test issuer; see tests/support/testkit/issuer.rs.
sub control {
    my ($command, %spec) = @_;
    my ($port) = issuer_base() =~ /:(\d+)$/;
    my $answer = Gate::Client::ask($port, 'POST', "/control/$command", body => JSON->new->utf8->canonical->encode(\%spec));
    die "control $command: " . $answer->body . "\n" if $answer->status != 200;
    return $answer->body;
}

# A token; the members are in tests/support/testkit/mint.rs.
sub mint {
    my $token = control('mint', @_);
    push @tokens, $token;
    return $token;
}

# Tokens made elsewhere: no log may hold them either.
sub remember { push @tokens, @_ }

# How often an issuer's documents were fetched: { discovery => N, jwks => N }.
sub counts {
    my ($issuer) = @_;
    return JSON::decode_json(control('counts'))->{$issuer} || { discovery => 0, jwks => 0 };
}

# A <GateIssuer> of the test issuer; more lines may follow, and the same directive again replaces.
sub issuer_section {
    my ($name, @more) = @_;
    my $more = join "\n", @more;
    my @lines = ("<GateIssuer $name>");
    push @lines, '    GateIssuerURL ' . issuer_base() . "/$name" if $more !~ /GateIssuerURL/;
    push @lines, '    GateAudience gate' if $more !~ /GateAudience/;
    push @lines, map { "    $_" } split /\n/, $more;
    return join("\n", @lines, '</GateIssuer>', '');
}

# A gated <Location> that is proxied to the upstream.
sub gated {
    my ($path, @more) = @_;
    my $to = upstream_base() . $path;
    my $more = join "\n    ", map { split /\n/ } @more;
    return <<"CONF";
<Location "$path">
    AuthType Gate
    AuthName "GitLab"
    $more
    ProxyPass $to nocanon
</Location>
CONF
}

# Starts a httpd of its own with this configuration.
sub httpd {
    my ($config, %options) = @_;
    my $httpd = Gate::Httpd->start($config, %options);
    push @httpds, $httpd;
    return $httpd;
}

# (exit status, output) of a configuration test.
sub configtest { return Gate::Httpd->configtest(@_) }

# Lines of the error log at warn or above that this test causes on purpose: parts of them, or regexes.
sub expect_in_log { push @expected, map { ref $_ ? $_ : qr/\Q$_\E/ } @_ }

# What the upstream got: { method, target, headers => [[name, value], ...], body_bytes }.
sub upstream_saw { return $_[0]->upstream_saw }

sub passes {
    my ($answer, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $ok = $answer->status == 200 && $answer->upstream_saw;
    ok($ok, $name) or diag($answer->as_string);
    return $ok;
}

# Refused by the gate (not by httpd or the upstream), with this status and this reason.
sub refused {
    my ($answer, $status, $code, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $got = join ' ', $answer->status, $answer->header('X-Gate-Reason') // '(no X-Gate-Reason)';
    my $id  = $answer->header('X-Gate-Request') // '';
    is($got . ($id =~ /^[\w@\-]{8,}$/ ? '' : " (X-Gate-Request '$id')"), "$status $code", $name) or diag($answer->as_string);
}

# Stops everything and looks through the logs; the last line of each test file.
sub finish {
    for my $httpd (@httpds) {
        $httpd->stop;
        my @unexpected = $httpd->unexpected_log_lines(@expected);
        is(scalar @unexpected, 0, 'the error log holds nothing unexpected') or diag(join "\n", @unexpected[0 .. ($#unexpected > 9 ? 9 : $#unexpected)]);
        is(join("\n", $httpd->refusals_missing_in_log), '', 'each refusal is in the error log with its code and id');
        is(join("\n", $httpd->leaked(@tokens)), '', 'no log holds a token or a secret');
        my @odd = Gate::Audit::all_wrong($httpd->dir . '/audit.log');
        is(scalar @odd, 0, 'every line of the audit log is as the schema wants it') or diag(join "\n", @odd[0 .. ($#odd > 4 ? 4 : $#odd)]);
    }
    $_->stop for values %server;
    done_testing();
}

1;
