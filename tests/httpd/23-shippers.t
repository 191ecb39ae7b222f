# The audit log and the figures arrive where they are kept, by the shippers and the recipes of docs/examples.
# tests/shippers/run installs them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Audit;
use Gate::Gatectl;
use Cwd ();
use File::Basename qw(dirname);
use File::Temp ();
use Time::HiRes qw(sleep time);

my $venv     = $ENV{GATE_SHIPPERS} or die "set GATE_SHIPPERS, or run tests/shippers/run\n";
my $examples = dirname(Cwd::realpath(__FILE__)) . '/../../docs/examples';
my $dir      = File::Temp->newdir('gate-ship-XXXXXX', TMPDIR => 1);
chmod 0755, "$dir";
sub spew { return Gate::Httpd::spew("$dir/$_[0]", $_[1]) }
my $key = spew('key', 'k' x 43 . "\n");

# A server of others that listens on that port; its log.
sub serve {
    my ($name, $port, @command) = @_;
    my $process = Gate::Process->start({ out => "$dir/$name.log" }, @command);
    my $until = time + 30;
    until (IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port)) {
        die "$name did not start:\n" . Gate::Httpd::slurp("$dir/$name.log") if time > $until || !$process->alive;
        sleep 0.05;
    }
    return $process;
}
sub eventually { my ($what, $seconds) = @_; my $until = time + ($seconds || 30); while (1) { my $got = $what->(); return $got if $got || time > $until; sleep 0.2 } }
sub json { return JSON->new->utf8->decode($_[0]) }

my $issuers = issuer_section('okta', "GateRole dev groups=devs\nGateRole admin groups=admins\nGateRole metrics groups=prometheus");
my $token   = mint(issuer => 'okta', claims => { sub => "an\x{e4}", email => 'ana@example.com', groups => ['devs'] });
my $scraper = mint(issuer => 'okta', claims => { sub => 'prometheus', groups => ['prometheus'] });
my $places  = gated('/', 'Require gate-role dev') . gated('/admin/', 'Require gate-role admin')
    . "<Location /-/gate-status>\nSetHandler gate-status\nRequire gate-role metrics\n</Location>\n";
sub traffic {
    my ($httpd) = @_;
    $httpd->get("/x$_?secret=1", token => $token, headers => [ 'User-Agent' => "odd \xff\"" ]) for 1 .. 20;
    $httpd->get('/admin/', token => $token) for 1 .. 5;
    $httpd->get('/') for 1 .. 5;
    return;
}

# --- rsyslog to a receiver that knows the schema's types ----------------------------------------------------------------

my $osmem_port = Gate::Httpd::free_port();
my ($osmem) = glob "$venv/lib/python3*/site-packages/osmem_server/bin/osmem-server";
my $receiver = serve('osmem', $osmem_port, $osmem, '-addr', "127.0.0.1:$osmem_port", '-no-stdin-watch');
sub search { my ($method, $path, $body) = @_; return json(Gate::Client::ask($osmem_port, $method, $path, headers => [ 'Content-Type' => 'application/json' ], defined $body ? (body => JSON->new->utf8->encode($body)) : ())->body) }

# The index's fields are the schema's own, and no others but gitlab_gate.
my %properties;
for my $row (Gate::Audit::rows('ecs_fields.tsv')) {
    my ($field, $type) = @$row;
    next unless $field =~ /^(?:\@timestamp|message|(?:ecs|event|http|url|source|destination|user|user_agent|rule|network|observer|host)\..*|process\.pid)$/;
    next if $field =~ /^user\.(?:changes|effective|target)\.|\.geo\.|\.as\.|^host\.(?:disk|boot|pid_ns|cpu|network|risk)|^observer\.(?:egress|ingress|os)|^(?:user|host)\.risk/;
    my %known = map { $_ => 1 } qw(keyword ip long date boolean float);
    my ($at, @path) = (\%properties, split /\./, $field);
    my $last = pop @path;
    $at = ($at->{$_} ||= { properties => {} })->{properties} for @path;
    $at->{$last} = { type => $known{$type} ? $type : $type =~ /text$/ ? 'text' : 'keyword' } unless $at->{$last};
}
my $template = search(PUT => '/_index_template/gate', {
    index_patterns => ['logs-gitlab_gate.audit-*'],
    template => { settings => { 'index.mapping.total_fields.limit' => 5000 }, mappings => { dynamic => 'strict', properties => { %properties, gitlab_gate => { type => 'object', dynamic => JSON::true } } } } });
ok($template->{acknowledged}, 'a receiver that knows the schema') or diag(JSON->new->encode($template));
my $index = 'logs-gitlab_gate.audit-default';
is(search(POST => "/$index/_doc/bad", { '@timestamp' => '2026-11-22T00:00:00Z', source => { ip => 'nope' } })->{status}, 400, 'it refuses what is no address');
is(search(POST => "/$index/_doc/odd", { '@timestamp' => '2026-11-22T00:00:00Z', gate => 'x' })->{status}, 400, 'and a field that is none');

my $httpd = httpd("GateAuditLog \@DIR\@/audit.log\nGateAuditChainKey file:$key\n$issuers$places");
my $log   = $httpd->dir . '/audit.log';
my $recipe = Gate::Httpd::slurp("$examples/rsyslog-gate.conf");
$recipe =~ s{/var/log/gitlab-gate/audit.log}{$log} && $recipe =~ s{serverport="9200"}{serverport="$osmem_port"} && $recipe =~ s{/var/log/gate-audit-refused.json}{$dir/refused.json} or die 'the recipe has changed';
mkdir "$dir/spool";
my $conf = spew('rsyslog.conf', "global(workDirectory=\"$dir/spool\" maxMessageSize=\"64k\")\n$recipe");
is(system("rsyslogd -N1 -f $conf > $dir/check.log 2>&1"), 0, 'rsyslog takes the recipe') or diag(Gate::Httpd::slurp("$dir/check.log"));
my $rsyslog = Gate::Process->start({ out => "$dir/rsyslog.log" }, 'rsyslogd', '-n', '-f', $conf, '-i', "$dir/rsyslog.pid");
traffic($httpd);
# While the receiver is away the lines wait.
$receiver->stop;
traffic($httpd);
sleep 1;
$receiver = serve('osmem', $osmem_port, $osmem, '-addr', "127.0.0.1:$osmem_port", '-no-stdin-watch');
search(PUT => '/_index_template/gate', { index_patterns => ['logs-gitlab_gate.audit-*'], template => { settings => { 'index.mapping.total_fields.limit' => 5000 }, mappings => { dynamic => 'strict', properties => { %properties, gitlab_gate => { type => 'object', dynamic => JSON::true } } } } });
traffic($httpd);
Gate::Audit::decisions($log, 90);
my $found = sub { my ($query) = @_; return search(POST => "/$index/_search", { size => 1000, query => $query })->{hits}{hits} || [] };
# It forgets what it had when it was stopped: what came since, and what waited, is there.
my $whole = eventually(sub { my $hits = $found->({ term => { 'event.action' => 'access' } }); @$hits >= 60 ? $hits : undef }, 60) || [];
my %ids; $ids{ $_->{_source}{http}{request}{id} }++ for @$whole;
my @late = (Gate::Audit::decisions($log, 90))[ 30 .. 89 ];
is(scalar(grep { !$ids{ $_->{http}{request}{id} } } @late), 0, 'rsyslog brings every line, also those that were written while the receiver was away');
is(scalar(grep { $_ > 1 } values %ids), 0, 'each once');
is(Gate::Httpd::slurp("$dir/refused.json"), '', 'and none is refused by it');
cmp_ok(scalar @{ $found->({ bool => { filter => [ { term => { 'event.reason' => 'role' } }, { term => { 'source.ip' => '127.0.0.0/8' } }, { range => { '@timestamp' => { gte => 'now-1h' } } }, { term => { 'user.email' => 'ana@example.com' } } ] } }) }, '>=', 10, 'who was refused, from where and when, is found by type');
$rsyslog->stop;

# --- CloudWatch Logs ------------------------------------------------------------------------------------------------------

my $moto_port = Gate::Httpd::free_port();
my $moto = serve('moto', $moto_port, "$venv/bin/moto_server", '-H', '127.0.0.1', '-p', $moto_port);
my %aws = (AWS_ENDPOINT_URL => "http://127.0.0.1:$moto_port", AWS_DEFAULT_REGION => 'eu-central-1', AWS_ACCESS_KEY_ID => 'test', AWS_SECRET_ACCESS_KEY => 'test');
my $program = spew('ship', "#!/bin/sh\ntrap '' TERM\n" . join('', map { "export $_=$aws{$_}\n" } sort keys %aws) . "exec setsid $venv/bin/python3 $examples/gate-to-cloudwatch gate-audit \$(hostname)\n");
chmod 0755, $program;
# The harness ends the whole group of a httpd that has stopped: the program is in a group of its own.
my $piped = httpd("GateAuditLog \"|$program\"\nGateAuditChainKey file:$key\n$issuers$places");
traffic($piped);
$piped->restart('USR1');
traffic($piped);
$piped->stop;
my $reader = spew('read.py', <<'PY');
import boto3, json
logs = boto3.client("logs")
lines = []
for stream in logs.describe_log_streams(logGroupName="gate-audit")["logStreams"]:
    token = None
    while True:
        more = {"nextToken": token} if token else {}
        page = logs.get_log_events(logGroupName="gate-audit", logStreamName=stream["logStreamName"], startFromHead=True, **more)
        lines += [it["message"] for it in page["events"]]
        if not page["events"] or page["nextForwardToken"] == token:
            break
        token = page["nextForwardToken"]
lines.sort(key=lambda it: json.loads(it)["event"]["sequence"])
print("\n".join(lines))
PY
my $environment = join ' ', map { "$_=$aws{$_}" } sort keys %aws;
my $shipped = eventually(sub { my $text = `$environment $venv/bin/python3 $reader`; my $count = () = $text =~ /"action":"(?:access|gate-stop)"/g; $count >= 61 ? $text : undef }, 60) // '';
my $copy = spew('shipped.log', $shipped);
is(scalar(grep { $_->{event}{action} eq 'access' } Gate::Audit::lines($copy)), 60, 'boto3 brings every line to CloudWatch Logs');
is(join("\n", grep { length } map { Gate::Audit::wrong($_) } Gate::Audit::lines($copy)), '', 'as it was');
my $verified = `$gatectl audit verify --key $key $copy 2>&1`;
like($verified, qr/^6\d lines, unbroken/, 'and the chain of what is kept there is unbroken');

# --- Prometheus -------------------------------------------------------------------------------------------------------------

is(system("promtool check rules $examples/prometheus-gate-alerts.yml > $dir/rules.log 2>&1"), 0, 'promtool takes the alerts') or diag(Gate::Httpd::slurp("$dir/rules.log"));
$recipe = Gate::Httpd::slurp("$examples/prometheus-gate.yml");
my $address = '127.0.0.1:' . $httpd->port;
my $secret  = spew('gate-token', "$scraper\n");
$recipe =~ s{/etc/prometheus/gate-token}{$secret} && $recipe =~ s{gate\.example\.com:443}{$address} && $recipe =~ s{scheme: https}{scheme: http} or die 'the recipe has changed';
my $prometheus_conf = spew('prometheus.yml', "global: { scrape_interval: 1s, evaluation_interval: 1s }\nrule_files: [ $examples/prometheus-gate-alerts.yml ]\n$recipe");
is(system("promtool check config $prometheus_conf > $dir/config.log 2>&1"), 0, 'promtool takes the recipe') or diag(Gate::Httpd::slurp("$dir/config.log"));
my $metrics = $httpd->get('/-/gate-status?metrics', token => $scraper)->body;
my $told = do { my $file = spew('metrics', $metrics); `promtool check metrics < $file 2>&1` };
is($? >> 8, 0, 'promtool finds nothing wrong with the metrics') or diag($told);
is($told, '', 'and has nothing to advise');

my $prometheus_port = Gate::Httpd::free_port();
my $prometheus = serve('prometheus', $prometheus_port, 'prometheus', "--config.file=$prometheus_conf", "--storage.tsdb.path=$dir/tsdb", "--web.listen-address=127.0.0.1:$prometheus_port");
eventually(sub { Gate::Client::ask($prometheus_port, 'GET', '/-/ready')->status == 200 });
sub value { my ($query) = @_; $query =~ s/([^\w.-])/sprintf '%%%02X', ord $1/ge; my $answer = json(Gate::Client::ask($prometheus_port, 'GET', "/api/v1/query?query=$query")->body); return ($answer->{data}{result}[0]{value} || [])->[1] }
is(eventually(sub { value('up{job="gitlab-gate"}') }) // '', 1, 'Prometheus scrapes the gate');
is(value('gitlab_gate_decisions_total{outcome="failure",reason="role",issuer="okta"}'), 15, 'and has its counters');
is(value('sum(gitlab_gate_decisions_total{outcome="success"}) > bool 60'), 1, 'all of them');
is(json(Gate::Client::ask($prometheus_port, 'GET', '/api/v1/rules')->body)->{data}{groups}[0]{name}, 'gitlab-gate', 'the alerts are loaded');
my ($sick) = grep { $_->{health} ne 'ok' } @{ json(Gate::Client::ask($prometheus_port, 'GET', '/api/v1/rules')->body)->{data}{groups}[0]{rules} };
is($sick ? $sick->{lastError} || 'unknown yet' : '', '', 'and can be reckoned') if eventually(sub { !grep { $_->{health} eq 'unknown' } @{ json(Gate::Client::ask($prometheus_port, 'GET', '/api/v1/rules')->body)->{data}{groups}[0]{rules} } }, 15);
$_->stop for $prometheus, $moto, $receiver;

expect_in_log(qr/AH01630|piped log|AH00106|AH00488/);
finish();
