# What is told of ports: each opening, close and refusal in the audit log, as Elastic Common Schema wants it;
# counters; and what would become of a CONNECT that nobody sent.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Audit;
use Gate::Gatectl;
use Gate::Port;
use Time::HiRes qw(sleep time);

my $target  = target('127.0.0.1:0');
my ($target_port) = $target =~ /:(\d+)$/;
my $gitlab  = gitlab();
my $issuers = issuer_section('ci', 'GateKind gitlab', 'GateRole deployer project_path=shop/orders', "GateJobAPI $gitlab/api/v4 every=1s misses=3")
    . issuer_section('okta', 'GateRole admin groups=admins');
sub port { my ($name, @lines) = @_; return join "\n", "<GatePort $name>", 'AuthType Gate', "GateTarget $target", (grep({ /^<Req/ } @lines) ? () : 'Require gate-role deployer'), @lines, '</GatePort>', '' }

my $httpd = httpd("GateAuditLog \@DIR\@/audit.log\nGateMaxOpenTotal 12\n$issuers"
    . port('db:5432', 'GateMaxOpen 1', 'GateLifetime 20m') . port('short:1', 'GateIdle 1s') . port('job:1', 'GateJob on')
    . port('net:1', '<RequireAll>', 'Require gate-role deployer', 'Require ip 192.0.2.0/24', '</RequireAll>')
    . "<Location /status>\nAuthType Gate\nSetHandler gate-status\nRequire gate-role admin\n</Location>\n"
    . "<Location /explain>\nAuthType Gate\nSetHandler gate-explain\nRequire gate-role admin\n</Location>\n");
my $log   = $httpd->dir . '/audit.log';
my $job   = mint(issuer => 'ci', shape => 'gitlab', claims => { user_login => 'ana', job_id => '302' });
my $other = mint(issuer => 'ci', shape => 'gitlab', claims => { project_path => 'shop/x', job_project_path => 'shop/x' });
my $late  = mint(issuer => 'ci', shape => 'gitlab', exp_in => -5, iat_in => -100, nbf_in => -100);
my $admin = mint(issuer => 'okta', claims => { sub => 'root', groups => ['admins'] });

sub line { my ($action, $id) = @_; my ($found) = Gate::Audit::wait_for($log, 1, sub { $_[0]{event}{action} eq $action && $_[0]{http}{request}{id} eq $id }); return $found || {} }
sub metrics { return $httpd->get('/status?metrics', token => $admin)->body }

# --- the audit log --------------------------------------------------------------------------------------------------

my ($answer, $t) = tunnel($httpd->port, 'db:5432', $job);
is($answer->status, 200, 'a port is opened');
my $id   = $answer->header('X-Gate-Request');
my $line = line('port-open', $id);
is_deeply([ @{ $line->{event} }{qw(category type outcome)} ], [ ['network'], [qw(connection start allowed)], 'success' ], 'its opening is written down');
is_deeply([ $line->{user}{name}, $line->{user}{roles}, $line->{rule}{name}, @{ $line->{gitlab_gate} }{qw(issuer project job mode)} ],
    [ 'ana', ['deployer'], 'db:5432', 'ci', 'shop/orders', 302, 'enforce' ], 'with person, role, section and job');
is_deeply([ @{ $line->{destination} }{qw(ip port)}, $line->{source}{ip} ], [ '127.0.0.1', $target_port, '127.0.0.1' ], 'from where to where');
like(metrics(), qr/^gitlab_gate_ports_open\{port="db:5432"\} 1$/m, 'it is open in the metrics');

my ($full) = tunnel($httpd->port, 'db:5432', $job);
refused($full, 429, 'port_limit', 'one more than GateMaxOpen');
$line = line('access', $full->header('X-Gate-Request'));
is_deeply([ @{ $line->{event} }{qw(outcome reason)}, $line->{http}{response}{status_code}, $line->{http}{request}{method}, $line->{user}{name}, $line->{rule}{name} ],
    [ 'failure', 'port_limit', 429, 'CONNECT', 'ana', 'db:5432' ], 'a refusal is written down as of any request');

# --- what would become of another --------------------------------------------------------------------------------------

sub asked_about {
    my ($token, $name, %more) = @_;
    my $query = join '&', 'method=CONNECT', "path=$name", map { "$_=$more{$_}" } sort keys %more;
    my $answer = $httpd->ask('POST', "/explain?$query", token => $admin, body => $token);
    return $answer->status == 200 ? JSON->new->utf8->decode($answer->body) : die $answer->as_string;
}
sub results { return { map { $_->{check} => $_->{result} } @{ $_[0] || [] } } }
my $it = asked_about($job, 'db:5432');
is_deeply([ @{$it}{qw(granted status reason place)} ], [ JSON::false, 429, 'port_limit', 'db:5432' ], 'the limit is explained');
is_deeply(results($it->{port}{checks}), { exp => 'passed', places => 'failed', target => 'not reached' }, 'as the check that fails');
like($it->{port}{checks}[1]{got}, qr/^1 and 1$/, 'with what is open');
my $served = connections($target);
$it = asked_about($job, 'SHORT:1');
is_deeply([ @{$it}{qw(granted status reason place user method path)} ], [ JSON::true, 200, undef, 'short:1', 'ana', 'CONNECT', 'SHORT:1' ], 'a grant is explained');
is_deeply([ @{ $it->{port} }{qw(name target idle_seconds)} ], [ 'short:1', $target, 1 ], 'with the target and the limits');
is_deeply(results($it->{port}{checks}), { exp => 'passed', places => 'passed', target => 'not asked' }, 'and each check');
is(scalar(grep { $_->{result} ne 'passed' } @{ $it->{token}{checks} }), 0, 'each check of the token');
is(connections($target), $served, 'the target is not asked');
$it = asked_about($job, 'job:1');
is($it->{granted}, JSON::true, 'a job is not asked either');
is(results($it->{port}{checks})->{job}, 'not asked', 'and that is told');
is_deeply([ @{ asked_about($late, 'short:1') }{qw(status reason)} ], [ 407, 'expired' ], 'an exp that has passed within the skew');
is_deeply([ @{ asked_about($other, 'short:1') }{qw(status reason)} ], [ 403, 'role' ], 'a wrong role');
is_deeply([ @{ asked_about($job, 'none:1') }{qw(status reason)} ], [ 403, 'port_unknown' ], 'no such port');
is_deeply([ @{ asked_about('', 'short:1') }{qw(status reason)} ], [ 407, 'token_missing' ], 'no token');
is(asked_about($job, 'net:1')->{status}, 403, 'another address');
is(asked_about($job, 'net:1', peer => '192.0.2.7')->{status}, 200, 'and the right one');
is($httpd->ask('POST', '/explain?method=CONNECT&path=/x', token => $admin, body => $job)->status, 400, 'a path is no port');
is(JSON->new->utf8->decode($httpd->ask('POST', '/explain?method=GET&path=/explain', token => $admin, body => $admin)->body)->{port}, undef, 'nor a port a path');

sub explain { my ($token, @words) = @_; return gatectl($token, 'explain', '--config', $httpd->dir . '/httpd.conf', '--httpd', $ENV{GATE_HTTPD} || '/usr/sbin/apache2', @words) }
my ($status, $out) = explain($job, qw(--method CONNECT --path db:5432));
is($status, 0, 'gatectl explain: granted') or diag($out);
like($out, qr/^port      db:5432 to \Q$target\E, until \d+ at the latest, 600 s idle\n  passed      exp .*\n  passed      places .*\n  not asked   target /m, 'with each check');
is((explain($other, qw(--method CONNECT --path db:5432)))[0], 1, 'refused');
is((explain($job, qw(--method CONNECT --path /db)))[0], 2, 'wrong usage');

# --- ends ----------------------------------------------------------------------------------------------------------------

$t->say("echo\nhello\n");
$t->read(6);
$t->close;
$line = line('port-close', $id);
is_deeply([ @{ $line->{event} }{qw(category type outcome reason)} ], [ ['network'], [qw(connection end)], 'success', 'client' ], 'the close is written down');
is_deeply([ $line->{source}{bytes}, $line->{destination}{bytes} ], [ 11, 6 ], 'with its bytes');
cmp_ok($line->{event}{duration} || 0, '>', 1_000_000, 'and its duration, in nanoseconds');
my ($idle, $u) = tunnel($httpd->port, 'short:1', $job);
$u->rest;
is(line('port-close', $idle->header('X-Gate-Request'))->{event}{reason}, 'idle', 'a port that is cut, with its cause');
refused((tunnel($httpd->port, @$_[ 0, 1 ]))[0], @$_[ 2, 3 ], "refused: $_->[3]") for [ 'db:5432', $other, 403, 'role' ], [ 'no:1', $job, 403, 'port_unknown' ], [ 'db:5432', undef, 407, 'token_missing' ], [ 'db:5432', $late, 407, 'expired' ];
Gate::Audit::wait_for($log, 5, sub { ($_[0]{http}{request}{method} || '') eq 'CONNECT' && $_[0]{event}{action} eq 'access' });
my @ports = grep { ($_->{http}{request}{method} || '') eq 'CONNECT' } Gate::Audit::lines($log);
is_deeply([ sort map { "$_->{event}{action} " . ($_->{event}{reason} || '') } @ports ],
    [ 'access expired', 'access port_limit', 'access port_unknown', 'access role', 'access token_missing', 'port-close client', 'port-close idle', 'port-open ', 'port-open ' ],
    'one line each, and none for what was only asked');
is(join("\n", grep { length } map { Gate::Audit::wrong($_) } Gate::Audit::lines($log)), '', 'every line is as the schema wants it');

my $metrics = metrics();
like($metrics, qr/^\Q$_\E$/m, $_) for
    'gitlab_gate_ports_open{port="db:5432"} 0', 'gitlab_gate_ports_opened_total{port="db:5432"} 1',
    'gitlab_gate_ports_closed_total{port="db:5432",reason="client"} 1', 'gitlab_gate_ports_closed_total{port="short:1",reason="idle"} 1',
    'gitlab_gate_port_bytes_total{port="db:5432",from="source"} 11', 'gitlab_gate_port_bytes_total{port="db:5432",from="destination"} 6',
    'gitlab_gate_decisions_total{outcome="failure",reason="port_limit",issuer="ci"} 1';
my ($db) = grep { $_->{port} eq 'db:5432' } @{ JSON->new->utf8->decode($httpd->get('/status?json', token => $admin)->body)->{ports} };
is_deeply([ @{$db}{qw(open opened closed)} ], [ 0, 1, { client => 1 } ], 'as JSON');
my $page = $httpd->get('/status', token => $admin)->body;
like($page, qr{<code>db:5432</code>.*<code>client</code>}s, 'and on the page');
open my $kept, '>', $ENV{GATE_KEEP_PAGE} or die if $ENV{GATE_KEEP_PAGE};
print {$kept} $page if $kept;

my $report = `$gatectl audit report --format json $log`;
my ($row) = grep { $_->{place} eq 'db:5432' && $_->{person} eq 'ana' } @{ JSON->new->utf8->decode($report) };
is_deeply([ @{$row}{qw(project role count refusals)} ], [ 'shop/orders', 'deployer', 2, 1 ], 'the access review counts ports');

expect_in_log(qr/AH01630/);
finish();
