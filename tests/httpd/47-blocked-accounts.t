# Before a person's Sudo goes in, GitLab says whether the account is active and the same as before (GateAccountAPI).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::GitLab qw(support);
use File::Temp ();
use JSON ();
use Time::HiRes qw(sleep time);

my $dir = File::Temp->newdir('gate-account-XXXXXX', TMPDIR => 1);
chmod 0755, $dir;
my $pat = 'glpat-admin-secret-000000000001';
Gate::Httpd::spew("$dir/$_->[0]", "$_->[1]\n"), chmod 0644, "$dir/$_->[0]" for [ 'admin', $pat ], [ 'wrong', 'glpat-wrong-secret-000000000002' ];
my $gitlab = Gate::Process->start_listening('/usr/bin/python3', support('gitlab.py'), $pat, 'Basic x', 'job', '/dev/null', '/dev/null');
my ($port) = $gitlab->address =~ /:(\d+)$/;
my $api = 'http://' . $gitlab->address . '/api/v4';
sub gitlab {
    my (%set) = @_;
    my $answer = Gate::Client::ask($port, 'POST', '/-/stand-in', body => JSON::encode_json(\%set));
    die $answer->as_string if $answer->status != 200;
    return JSON::decode_json($answer->body)->{questions};
}
sub soon {
    my ($holds) = @_;
    my $until = time + 20;
    while (time < $until) { return 1 if $holds->(); sleep 0.1 }
    return 0;
}
my @place = (gated('/api/v4/', "GateUpstreamToken file:$dir/admin", 'GateSudo on', 'Require valid-user'), gated('/', 'Require valid-user'));
sub gate { my ($options, @more) = @_; return httpd("GateAccountAPI $options\n" . issuer_section('a') . join '', @more, @place) }
my %token;
sub ask { my ($httpd, $who, $path) = @_; $token{$who} ||= mint(issuer => 'a', claims => { sub => $who }); return $httpd->get($path // '/api/v4/x', token => $token{$who}) }
expect_in_log('GATE804');

# -- who passes
my $httpd = gate("$api token-file=$dir/admin");
my $answer = ask($httpd, 'dana');
passes($answer, 'an active account passes');
is($answer->sent('Sudo'), 'dana', 'with Sudo');
my $questions = gitlab(users => { caps => { id => 20, username => 'Caps' } });
passes(ask($httpd, 'dana'), 'again') for 1 .. 20;
cmp_ok(gitlab() - $questions, '<', 20, 'GitLab is not asked for each request');
passes(ask($httpd, 'caPs'), 'the case of a name means nothing');

# -- who does not
my @states = qw(blocked ldap_blocked deactivated banned blocked_pending_approval something_new);
gitlab(users => { map { ("u_$states[$_]" => { id => 100 + $_, state => $states[$_] }) } 0 .. $#states });
for my $state (@states) {
    $answer = ask($httpd, "u_$state");
    refused($answer, 403, 'account_blocked', $state);
    ok(!$answer->upstream_saw, "$state: GitLab gets nothing of it");
    passes(ask($httpd, "u_$state", '/x'), "$state: a place without GateSudo does not ask");
}
refused(ask($httpd, 'nobody'), 403, 'account_blocked', 'no such account');
refused(ask($httpd, 'dana&username=root'), 403, 'account_blocked', 'a name is one parameter');
like($httpd->error_log, qr/account_blocked.*wanted the account "u_banned" to be active, it is banned/, 'the log says what came and what was wanted');

# -- GitLab can't say: nobody new passes; who is known passes
gitlab(users => { map { ("n$_" => { id => 200 + $_ }) } 0 .. 20 });
my $number = 0;
for my $mode (qw(500 502 503 429 401 403 404 302 301 204 html garbage other two hang)) {
    gitlab(mode => $mode);
    refused(ask($httpd, 'n' . $number++), 503, 'account_unknown', "a new person, GitLab: $mode");
    passes(ask($httpd, 'dana'), "a known one, GitLab: $mode");
}
gitlab(mode => '');
ok(soon(sub { ask($httpd, 'n0')->status == 200 }), 'passes once GitLab can say');
my $status = httpd("GateAccountAPI $api token-file=$dir/wrong\n" . issuer_section('a') . "<Location /status>\n SetHandler gate-status\n</Location>\n" . join '', @place);
refused(ask($status, 'dana'), 503, 'account_unknown', "a token that is no administrator's");
like($status->error_log, qr/GATE804: GateAccountAPI \Q$api\E: .*answered 401.*token of an administrator/, 'the log says what to write');
ok(soon(sub { ask($status, 'dana', '/status?json')->body =~ /"last_error": "[^"]*answered 401/ }), 'the status says so, as JSON');
ok(soon(sub { ask($status, 'dana', '/status')->body =~ m{<p>GateAccountAPI <code>\Q$api\E</code>: GitLab can't say} }), 'and as a page');

# -- answers grow old: asked in the background, then waited for, then the last one serves for stale=
# Each child has its own answers: there is one child, so that the last answer is one.
my $short = gate("$api token-file=$dir/admin cache=1s stale=6s", "<IfModule !mpm_prefork_module>\nStartServers 1\nServerLimit 1\nThreadsPerChild 8\nMaxRequestWorkers 8\n</IfModule>\n<IfModule mpm_prefork_module>\nStartServers 1\nMinSpareServers 1\nMaxSpareServers 1\nMaxRequestWorkers 1\n</IfModule>\n");
passes(ask($short, 'dana'), 'active');
gitlab(users => { dana => { id => 7, state => 'blocked' } });
ok(soon(sub { ask($short, 'dana')->status == 403 }), 'a block is seen');
gitlab(users => { dana => { id => 7 } });
ok(soon(sub { ask($short, 'dana')->status == 200 }), 'and its end');
gitlab(mode => '500');
sleep 2.5;
passes(ask($short, 'dana'), 'GitLab is away: the last answer serves');
ok(soon(sub { ask($short, 'dana')->status == 503 }), 'and no longer than stale=');
refused(ask($short, 'dana'), 503, 'account_unknown', 'with its reason');
gitlab(mode => '');
ok(soon(sub { ask($short, 'dana')->status == 200 }), 'until GitLab is back');

# -- the name leads to another account
gitlab(users => { dana => { id => 9 } });
ok(soon(sub { ask($short, 'dana')->status == 403 }), 'another account of that name');
# Each child asks for itself: after this none has an answer that is young.
sleep 2.5;
refused(ask($short, 'dana'), 403, 'account_changed', 'has its own reason') for 1 .. 4;
my ($file) = $short->error_log =~ /account_changed.*wanted GitLab's account 7 .*leads to account 9.*remove (\S+\.json)/;
ok($file && unlink($file), 'the log names the file to remove') or diag($short->error_log);
ok(soon(sub { ask($short, 'dana')->status == 200 }), 'after that it passes');
gitlab(users => { dana => { id => 7 } });
ok(soon(sub { (ask($short, 'dana')->header('X-Gate-Reason') // '') eq 'account_changed' }), 'and is the one that is kept');

# -- what can't be written
for my $case (
    [ 'GateAccountAPI',                                             'takes GitLab' ],
    [ "GateAccountAPI $api",                                        'token-file= is missing' ],
    [ "GateAccountAPI http://gitlab.example.com/api/v4 token-file=$dir/admin", 'use https' ],
    [ "GateAccountAPI $api?x=1 token-file=$dir/admin",              'without a query' ],
    [ "GateAccountAPI $api token-file=admin",                       'whole path' ],
    [ "GateAccountAPI $api token-file=$dir/none",                   'No such file' ],
    [ "GateAccountAPI $api token-file=$dir/admin cache=0",          'longer than nothing' ],
    [ "GateAccountAPI $api token-file=$dir/admin stale=x",          'write a duration' ],
    [ "GateAccountAPI $api token-file=$dir/admin ca-file=$dir/admin", 'no PEM certificate' ],
    [ "GateAccountAPI $api token-file=$dir/admin every=1s",         'takes GitLab' ],
    [ "GateAccountAPI $api token-file=$dir/admin\nGateAccountAPI $api token-file=$dir/admin", 'stands twice' ],
    [ "<Location /z>\nGateAccountAPI $api token-file=$dir/admin\n</Location>", 'not allowed in <Location> context' ],
) {
    my ($code, $out) = configtest("$case->[0]\n" . issuer_section('a') . join '', @place);
    ok($code != 0 && $out =~ /\Q$case->[1]\E/, "$case->[0] is refused") or diag($out);
}

# -- recommended
like(httpd(issuer_section('a') . join '', @place)->error_log, qr/notice\].*GATE234: GateSudo on \(line \d+.*GateAccountAPI/, 'GateSudo without it: start-up recommends it');
unlike($short->error_log, qr/GATE234/, 'with it there is nothing to say');
unlike($_->error_log . $_->access_log, qr/-secret-/, 'no log holds a token') for $httpd, $short, $status;
finish();
