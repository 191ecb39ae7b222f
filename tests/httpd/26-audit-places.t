# What is written down where, and what is refused in spite of GateMode observe: ports, the gate's own handlers, a log
# that can't be written.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Audit;
use Gate::Port;
use File::Temp ();
use Time::HiRes qw(sleep time);

my $target  = target('127.0.0.1:0');
my $issuers = issuer_section('ci', 'GateKind gitlab') . issuer_section('okta', 'GateRole dev groups=devs', 'GateRole admin groups=admins');
my $job     = mint(issuer => 'ci', shape => 'gitlab');
my $dev     = mint(issuer => 'okta', claims => { sub => 'ana', groups => ['devs'] });
my $admin   = mint(issuer => 'okta', claims => { sub => 'root', groups => [qw(admins devs)] });
sub port { my ($name, @lines) = @_; return join "\n", "<GatePort $name>", 'AuthType Gate', 'GateAccept ci', "GateTarget $target", 'Require valid-user', @lines, '</GatePort>', '' }
sub handler { my ($path, $handler, @lines) = @_; return join "\n", "<Location $path>", 'AuthType Gate', "SetHandler $handler", @lines, '</Location>', '' }
my $status = handler('/status', 'gate-status', 'Require gate-role admin');

# --- ports, and places within places ----------------------------------------------------------------------------------

my $httpd = httpd("GateAuditLog \@DIR\@/audit.log\n$issuers"
    . port('all:1', 'GateAuditOn ALL') . port('refusals:1', 'GateAuditOn refusals') . port('none:1', 'GateAuditOn none')
    . gated('/', 'GateAccept okta', 'Require gate-role dev') . "<Location /sub/>\nGateForwardToken off\n</Location>\n" . gated('/own/', 'Require gate-role dev admin') . $status);
my $log = $httpd->dir . '/audit.log';
sub metrics { return $httpd->get('/status?metrics', token => $admin)->body }
like(metrics(), qr/^gitlab_gate_ports_open\{port="none:1"\} 0$/m, 'a port is among the figures before it is opened');
for my $name (qw(all refusals none)) {
    my ($answer, $tunnel) = tunnel($httpd->port, "$name:1", $job);
    is($answer->status, 200, "a port is opened: $name");
    $tunnel->close;
    refused((tunnel($httpd->port, "$name:1", $dev))[0], 407, 'issuer_not_accepted', 'and refused to another');
}
passes($httpd->get('/sub/x', token => $dev), 'a request');
passes($httpd->get('/own/x', token => $dev), 'another');
Gate::Audit::wait_for($log, 5, sub { $_[0]{event}{action} =~ /^port-close$|^access$/ });
my $metrics = metrics();
like($metrics, qr/^gitlab_gate_decisions_total\{outcome="success",reason="",issuer="ci"\} 3$/m, 'a port that is opened is counted as granted');
like($metrics, qr/^gitlab_gate_decisions_total\{outcome="failure",reason="issuer_not_accepted",issuer=""\} 3$/m, 'as one that is refused is');
for (qw(json=1 json&x metrics=1 metrics&x)) {
    my ($type) = /^(\w+)/;
    like($httpd->get("/status?$_", token => $admin)->header('Content-Type'), $type eq 'json' ? qr/json/ : qr{^text/plain}, "the first parameter's name says what is wanted: $_");
}
like($httpd->ask('POST', '/status', token => $admin)->header('Allow'), qr/\bGET\b/, 'a POST is told what is allowed');
$httpd->stop;
my @lines = Gate::Audit::lines($log);
is(join(' ', sort map { "$_->{event}{action}=$_->{rule}{name}" } grep { $_->{event}{action} =~ /^port-/ } @lines), 'port-close=all:1 port-open=all:1', 'where only refusals or nothing is wanted, no port is written down');
my @connects = grep { $_->{http}{request}{method} eq 'CONNECT' } grep { $_->{event}{action} eq 'access' } @lines;
is(join(' ', sort map { join ':', @{ $_->{url} }{qw(domain port)} } @connects), 'all:1 refusals:1', 'nor a refusal where nothing is');
is(scalar(grep { exists $_->{url}{path} } @connects), 0, 'a CONNECT has no path');
my %rule = map { $_->{url}{path} => $_->{rule}{name} } grep { $_->{url}{path} } @lines;
is_deeply([ @rule{qw(/sub/x /own/x)} ], [ '/', '/own/' ], 'the place is that of the rule');

# --- observation does not open what the gate itself tells ------------------------------------------------------------------

my $watching = httpd("GateAuditLog \@DIR\@/audit.log\n$issuers" . gated('/', 'GateMode Observe', 'GateTokenFrom bearer query:t', 'Require gate-role admin')
    . handler('/status', 'gate-status') . handler('/explain', 'gate-explain'));
passes($watching->get('/x'), 'nothing is refused');
for my $path ('/status?json', '/explain?path=/x') {
    refused($watching->get($path), 401, 'token_missing', "but $path");
    refused($watching->get($path, token => $dev), 403, 'role', 'by the rule around it');
    is($watching->get($path, token => $admin)->status, 200, 'and is there for who fulfils it');
}
my $it = JSON->new->utf8->decode($watching->ask('POST', '/explain?path=/status', token => $admin, body => $dev)->body);
is_deeply([ @{$it}{qw(granted status reason observed)} ], [ JSON::false, 403, 'role', JSON::false ], 'an explanation says so');
$watching->stop;
my @watched = map { "$_->{url}{path} $_->{event}{reason} $_->{http}{response}{status_code} $_->{gitlab_gate}{mode}" } grep { ($_->{event}{reason} // '') =~ /./ } Gate::Audit::lines($watching->dir . '/audit.log');
is_deeply([ sort @watched ], [ '/explain role 403 enforce', '/explain token_missing 401 enforce', '/status role 403 enforce', '/status token_missing 401 enforce', '/x token_missing 200 observe' ], 'and so does the log');

my $full = httpd("GateAuditLog /dev/full\nGateAuditRequired on\n$issuers" . gated('/', 'GateMode observe', 'Require gate-role dev'));
refused($full->get('/', token => $dev), 503, 'audit_unavailable', 'with GateAuditRequired nothing passes unwritten, observed or not');

# --- issuers of one name --------------------------------------------------------------------------------------------------

my $two = httpd("<VirtualHost *:\@PORT\@>\nServerName a.x\n$issuers" . handler('/status', 'gate-status', 'Require all granted') . "</VirtualHost>\n"
    . "<VirtualHost *:\@PORT\@>\nServerName b.x\n<GateIssuer okta>\nGateIssuerURL http://127.0.0.1:9/none\nGateAudience g\n</GateIssuer>\n</VirtualHost>\n");
my $until = time + 10;
my $seen;
do { sleep 0.1; ($seen) = grep { $_->{name} eq 'okta' } @{ JSON->new->utf8->decode($two->get('/status?json', headers => [ Host => 'a.x' ])->body)->{issuers} } } until $seen->{last_error} || time > $until;
ok($seen->{last_error}, 'of two issuers of one name the one in trouble is shown');
unlike($two->get('/status', headers => [ Host => 'a.x' ])->body, qr/all well/, 'and the page says so');

# --- the start says what is odd -----------------------------------------------------------------------------------------

my ($code, $said) = configtest("GateAuditLog a.log\nGateAuditLog b.log\n" . $issuers . handler('/h', 'gate-statut', 'Require valid-user'));
is($code, 0, 'odd, but no error');
like($said, qr/GATE221: GateAuditLog \(line 2 of \S+\) stands again: what line 1 of \S+ says has no effect/, 'a log given twice');
like($said, qr/GATE222: SetHandler gate-statut \(line \d+ of .* there are gate-status/, 'a handler that is none');
($code, $said) = configtest("GateAuditRequired on\n$issuers<IfDefine Never>\nGateAuditLog logs/a\n</IfDefine>\n");
like($said, qr/GATE200: GateAuditRequired \(line 1 of \S+\) needs a GateAuditLog/, 'what needs a log is named');
($code, $said) = configtest($issuers . join '', map { port("db:$_") } 1 .. 256);
like($said, qr/GATE220: there are 256 <GatePort> sections: .* tell 255 apart/, 'more names than the figures tell apart');

expect_in_log(qr{GATE235: SetHandler gate-status in /status});
expect_in_log(qr/GATE(?:20[24]|22[012])|GATE311|GATE601/, qr{AH01630});
finish();
