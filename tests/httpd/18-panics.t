# Every function that C calls panics once, at each call, for a httpd of its own: nobody comes in by that, nothing is
# told or sent that would not be, and no process dies. What an entry answers instead is its fallback (gate.h).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Audit;
use Gate::Port;
use File::Temp ();
use Time::HiRes qw(sleep);

my $header = Gate::Httpd::slurp("$FindBin::RealBin/../../c_shim/gate.h") =~ s{/\*.*?\*/}{}gsr;
my @entries = $header =~ /\b(gate_[a-z_]+)\(/g;
cmp_ok(scalar @entries, '>', 30, 'the entries are known');

my $dir = File::Temp->newdir('gate-panics-XXXXXX', TMPDIR => 1);
chmod 0755, $dir;
chmod 0644, Gate::Httpd::spew("$dir/credential", "glpat-secret-of-the-gate-0001\n");
my $target = target('127.0.0.1:0');
my $up     = upstream_base();
my $config = issuer_section('ci', 'GateKind gitlab', 'GateRole deployer project_path=shop/orders', 'GateRole bad ref=bad')
    . "GateAuditRequired on\n"
    . gated('/role/', 'Require gate-role deployer')
    . gated('/not/', '<RequireAll>', 'Require valid-user', 'Require not gate-role bad', '</RequireAll>')
    . gated('/claim/', '<RequireAll>', 'Require valid-user', q(Require expr "gate_claim('ref') != 'bad'"), '</RequireAll>')
    . gated('/list/', '<RequireAll>', 'Require valid-user', q(Require expr "!('bad' in gate_claims('ref'))"), '</RequireAll>')
    . gated('/query/', 'GateTokenFrom query:gate bearer', 'Require gate-role deployer')
    . gated('/gitlab/', "GateUpstreamToken file:$dir/credential", 'GateSudo people jobs', 'Require gate-role deployer')
    . "<Location /ws/>\nAuthType Gate\nRequire gate-role deployer\nGateLifetime 1s\nProxyPass $up/-/ upgrade=websocket\n</Location>\n"
    . "<Location /open/>\nRequire all granted\nProxyPass $up/open/ nocanon\n</Location>\n"
    . "<Location /explain>\nAuthType Gate\nAuthName x\nSetHandler gate-explain\nRequire gate-role deployer\n</Location>\n"
    . "<Location /status>\nAuthType Gate\nAuthName x\nSetHandler gate-status\nRequire gate-role deployer\n</Location>\n"
    . "<Location /jwks>\nSetHandler gate-jwks\n</Location>\n"
    . "<GatePort db:1>\nAuthType Gate\nGateTarget $target\nGateLifetime 1s\nRequire gate-role deployer\n</GatePort>\n";

sub job { my ($claims, @more) = @_; return mint(issuer => 'ci', shape => 'gitlab', claims => { user_login => 'ana', %$claims }, @more) }
my $good     = job({});
my $stranger = job({ project_path => 'evil/x', job_project_path => 'evil/x', ref => 'bad' });
my $forged   = job({}, mutate => 'flip_sig');

my %served;    # by entry: a good token passed

# What is wrong with how this httpd behaves: a list of words, empty where all is well.
sub attacked {
    my ($httpd, $entry) = @_;
    my @wrong;
    my $never = sub { my ($what, $answer) = @_; push @wrong, "$what came in: " . $answer->status if $answer->status =~ /^[12]/; return $answer };
    my $as    = sub {    # what passes comes up as what it is
        my ($what, $answer) = @_;
        return $answer if $answer->status != 200;
        my $saw = $answer->upstream_saw or push(@wrong, "$what: 200 and no upstream"), return $answer;
        push @wrong, "$what came up as " . ($answer->sent('X-Forwarded-User') // 'nobody') if ($answer->sent('X-Forwarded-User') // '') ne 'ana';
        push @wrong, "$what: the token went up" if $answer->body =~ /\Q$good\E/;
        return $answer;
    };
    $never->('nobody',               $httpd->get('/role/x'));
    $never->('who lacks the role',   $httpd->get('/role/x',  token => $stranger));
    $never->('a forged token',       $httpd->get('/role/x',  token => $forged));
    $never->('who is kept out by a role',  $httpd->get('/not/x',   token => $stranger));
    $never->('who is kept out by a claim', $httpd->get('/claim/x', token => $stranger));
    $never->('who is kept out by a list',  $httpd->get('/list/x',  token => $stranger));
    $never->('nobody, with a query', $httpd->get('/query/x'));
    $never->('who lacks the role, with a query', $httpd->get("/query/x?gate=$stranger"));
    $never->('sudo in a body', $httpd->ask('POST', '/gitlab/api/v4/x', token => $good, body => 'sudo=root'));
    $never->('nobody, for a port', (tunnel($httpd->port, 'db:1'))[0]);
    $never->('who lacks the role, for a port', (tunnel($httpd->port, 'db:1', $stranger))[0]);
    $never->('nobody, for the status', $httpd->get('/status'));

    $served{$entry} = $as->('a good token', $httpd->get('/role/x', token => $good))->status == 200;
    $as->('a good token with a claim',  $httpd->get('/claim/x', token => $good));
    $as->('a good token with a list',   $httpd->get('/list/x',  token => $good));
    $as->('a good token in the query',  $httpd->get("/query/x?gate=$good"));
    $as->('a spoofed name', $httpd->get('/role/x', token => $good, headers => [ 'X-Forwarded-User' => 'root', Connection => 'close, X-Forwarded-User' ]));
    my $answer = $as->("GitLab's", $httpd->get('/gitlab/api/v4/x', token => $good));
    push @wrong, "the gate's credential went up without the person" if $answer->status == 200 && $answer->sent('PRIVATE-TOKEN') && ($answer->sent('Sudo') // '') ne 'ana';

    $answer = $httpd->get('/open/x', headers => [ 'X-Forwarded-User' => 'root', Referer => "http://x/query/x?gate=$good" ]);
    $httpd->get("/open/x?gate=$good");    # the logs are looked through at the end
    push @wrong, 'an open place takes a name from the client' if defined $answer->sent('X-Forwarded-User');
    push @wrong, 'an open place gets the token of a Referer' if ($answer->sent('Referer') // '') =~ /\Q$good\E/;

    for my $asked ('/role/x', '/not/x', '/claim/x', '/list/x', 'db:1') {
        my $method = $asked =~ /^db/ ? 'CONNECT' : 'GET';
        my $told = $httpd->ask('POST', "/explain?method=$method&path=$asked", token => $good, body => $stranger);
        push @wrong, "an explanation says that $asked would be granted" if $told->status == 200 && JSON::decode_json($told->body)->{granted};
    }
    # what is only called, and refuses nobody
    $answer = $httpd->ask('POST', '/explain?method=CONNECT&path=db:1', token => $good, body => $good);
    push @wrong, 'a port that could not be judged is explained' if $entry eq 'gate_explain_port' && JSON::decode_json($answer->body)->{status} != 500;
    $httpd->get('/status?metrics', token => $good);
    $httpd->get('/jwks');

    # what has a time to live ends in time, or does not begin
    my ($opened, $tunnel) = tunnel($httpd->port, 'db:1', $good);
    my $ws = websocket($httpd->port, '/ws/cable', $good);
    for my $it ([ 'a port', $opened->status, $tunnel ], [ 'a WebSocket', @{$ws}{qw(status tunnel)} ]) {
        my ($what, $status, $open) = @$it;
        next if $status !~ /^(?:101|200)$/;
        my ($began, $rest) = (time, $open->rest);
        push @wrong, "$what is not closed in time" if $rest =~ /still open/ || time - $began > 12;    # idle, it would be after 20 s
    }
    $_->close for grep { $_ } $tunnel, $ws->{tunnel};
    push @wrong, 'the end of a port is not told' if $opened->status == 200 && !$httpd->wait_for_log(qr/GATE702/);
    push @wrong, "a log holds a token" if join('', map { Gate::Httpd::slurp($_) } $httpd->logs) =~ /\Q$good\E|\Q$stranger\E/;
    return @wrong;
}

# Without these nobody would know what the configuration says.
my %stops = map { $_ => 1 } qw(gate_config_new gate_config_server gate_directive gate_directive_slot gate_issuer_open gate_issuer_directive
    gate_issuer_close gate_rule_new gate_config_check gate_config_audit_log gate_state_dir gate_audit_open gate_port_name gate_claim_path_wrong);
my %unseen;
for my $entry ('', @entries) {
    local $ENV{GATE_TEST_PANIC} = $entry;
    my $name = $entry || 'no entry';
    my $httpd = Gate::Httpd->new($config, log_level => 'notice');
    my @wrong = eval { $httpd->launch; 1 } ? attacked($httpd, $entry) : ();
    my ($started, $why) = (!!$httpd->{process}->alive, $httpd->stderr . $httpd->error_log);
    my $status = $started ? 0 : $httpd->{process}{status};
    push @wrong, sprintf 'httpd ended with %d', $status if $status & 127 || (!$started && !$status);
    # A child of event's that is told to stop crashes by itself where a connection just ends (close_worker_sockets looks
    # at the socket of a worker that frees it): none does here.
    sleep 0.3;
    $httpd->stop;
    push @wrong, 'a child died' if $httpd->error_log =~ /AH0005[012]|exit signal/;
    my @written = grep { ($_->{url}{path} // '') eq '/role/x' && $_->{event}{outcome} eq 'success' } Gate::Audit::lines($httpd->dir . '/audit.log');
    push @wrong, 'a decision is not written down' if $served{$entry} && !@written && $entry ne 'gate_audit';    # which comes when it is served
    push @wrong, $started ? 'httpd must not start' : 'httpd must start' if $started == !!$stops{$entry};
    is(join("\n", @wrong), '', "$name panics: " . ($started ? 'nobody comes in' : 'httpd does not start')) or diag($why =~ /(.{0,3000})\z/s);
    $unseen{$entry} = 1 if $entry && "$why" !~ /GATE500: \Q$entry\E failed/ && $httpd->error_log !~ /GATE500: \Q$entry\E failed/;
}
# The first one brings the log; for an id httpd has mod_unique_id here.
is(join(' ', sort keys %unseen), 'gate_config_new gate_request_id', 'each entry was called');

finish();
