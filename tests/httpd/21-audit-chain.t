# No line is lost or torn with several processes and over graceful restarts; a changed, removed, moved or added
# line is found and named; a full disk and a reader that is gone hold no request up.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Audit;
use Gate::Gatectl;
use Fcntl qw(F_SETLKW F_WRLCK SEEK_SET);
use File::Temp ();
use POSIX ();
use Time::HiRes qw(sleep time);

my $dir     = File::Temp->newdir;
chmod 0755, "$dir";
my $issuers = issuer_section('okta', 'GateRole dev groups=devs');
my $token   = mint(issuer => 'okta', claims => { sub => 'ana', groups => ['devs'] });

sub spew { my ($name, $text) = @_; open my $out, '>', "$dir/$name" or die $!; print {$out} $text; close $out or die $!; return "$dir/$name" }
my $key = spew('key', 'k' x 43 . "\n");

sub verify { return gatectl(undef, qw(audit verify --key), $key, @_) }

# stdout alone: on a long log the progress is on stderr.
sub report { my $quoted = join ' ', map { quotemeta } @_; return scalar `$gatectl audit report $quoted` }

# Many requests over several connections, each kept for as long as httpd keeps it; how many of the
# connections saw anything but 200.
sub storm {
    my ($httpd, $connections, $each, $meanwhile) = @_;
    my @pids;
    for my $connection (1 .. $connections) {
        my $pid = fork // die "fork: $!";
        if (!$pid) {
            my ($good, $socket) = (0);
            for (1 .. $each) {
                my $request = "GET /p$connection/$_ HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer $token\r\n\r\n";
                my $answer  = $httpd->raw($request, socket => $socket);
                # A kept connection may be closed just then: nothing of this request has been seen there.
                $answer = $httpd->raw($request) if $socket && $answer->{line} =~ /closed without an answer/;
                $socket = ($answer->header('Connection') // '') =~ /close/i || !$answer->status ? undef : $answer->{socket};
                $good++ if $answer->status == 200;
                %Gate::Httpd::answers = ();
                sleep 0.006 if $each <= 300;    # a few must last as long as the restarts
            }
            POSIX::_exit($good == $each ? 0 : 1);
        }
        push @pids, $pid;
    }
    $meanwhile->();
    my $bad = 0;
    for (@pids) { waitpid $_, 0; $bad++ if $? }
    return $bad;
}

# --- many processes, three graceful restarts --------------------------------------------------------------------

my $config = "GateAuditLog \@DIR\@/audit.log\nGateAuditChainKey file:$key\n$issuers" . gated('/', 'Require gate-role dev');
my $httpd  = httpd($config, log_level => 'notice');
my $log    = $httpd->dir . '/audit.log';
my ($connections, $each) = (8, $ENV{GATE_AUDIT_REQUESTS} || 300);
my $restarts = 0;
is(storm($httpd, $connections, $each, sub { for (1 .. 3) { sleep 0.1 + $each / 1000; $restarts += $httpd->restart('USR1') } }), 0, 'every request passes');
is($restarts, 3, 'over three graceful restarts');
$httpd->stop;
my @raw = Gate::Audit::raw($log);
my @lines = map { JSON->new->utf8->decode($_) } @raw;
my @decisions = grep { $_->{event}{action} eq 'access' } @lines;
is(scalar @decisions, $connections * $each, 'each request has its line');
my @wrong = grep { length } map { Gate::Audit::wrong($_) } @lines;
is(scalar @wrong, 0, 'every line is as the schema wants it') or diag(join "\n", @wrong[ 0 .. 3 ]);
my (%id, %pid);
$id{ $_->{http}{request}{id} }++, $pid{ $_->{process}{pid} }++ for @decisions;
is(scalar keys %id, $connections * $each, 'and no two are the same');
cmp_ok(scalar keys %pid, '>', 1, 'several processes wrote them');
is(scalar(grep { $lines[$_]{event}{sequence} != $_ + 1 } 0 .. $#lines), 0, 'the sequence rises by one a line');
my ($status, $out) = verify($log);
is($status, 0, 'the chain is unbroken') or diag($out);
like($out, qr/^${\ scalar @raw} lines/m, 'and its lines are counted');

# --- what is done to a log is found -------------------------------------------------------------------------------

sub broken {
    my ($name, $what, @changed) = @_;
    my ($status, $out) = verify(spew('broken.log', join('', map { "$_\n" } @changed)));
    is($status, 1, "$name is found");
    like($out, $what, 'and named');
}
my @few = @raw[ 0 .. 19 ];
{ my @it = @few; $it[7] =~ s/"ana"/"bob"/ or $it[7] =~ s/gitlab_gate/gitlab_gato/; broken('a changed line', qr/line 8: this line was changed/, @it) }
{ my @it = @few; splice @it, 4, 1; broken('a removed line', qr/line 5: before it line number 5 was removed/, @it) }
{ my @it = @few; splice @it, 0, 2; broken('a removed beginning', qr/line 1: before it lines number 1 to 2 were removed/, @it) }
{ my @it = @few; my ($moved) = splice @it, 3, 1; splice @it, 10, 0, $moved; broken('a moved line', qr/line 11: this line was moved: it is number 4/, @it) }
{ my @it = @few; splice @it, 6, 0, $it[2]; broken('an added line', qr/line 7: this line was added/, @it) }
{ my @it = @few; splice @it, 6, 0, ''; broken('an added empty line', qr/line 7: this line was added/, @it) }
broken('an added empty line at the end', qr/line 21: this line was added/, @few, '');
{ my @it = @few; pop @it; my $cut = spew('cut.log', join('', map { "$_\n" } @it)); is((verify($cut))[0], 0, 'a cut end is whole by itself'); is((verify('--last', 20, $cut))[0], 1, 'and found where the last number is known') }
{ my ($one, $two) = (spew('1.log', join('', map { "$_\n" } @few[ 0 .. 9 ])), spew('2.log', join('', map { "$_\n" } @few[ 10 .. 19 ])));
  is((verify($two, $one))[0], 0, 'two files of one log, in any order');
  my ($after) = (verify($one))[1] =~ /last (\S+)/; is((verify('--after', $after, $two))[0], 0, 'the later one alone, after what is known of the first') }
is((gatectl(undef, qw(audit verify), $log))[0], 2, 'without a key: wrong usage');
is((gatectl(undef, 'audit', 'verify', '--key', spew('other', 'x' x 40), $log))[0], 1, 'another key');

my ($row) = grep { $_->{person} eq 'ana' } @{ JSON->new->utf8->decode(report(qw(--format json), $log)) };
is_deeply([ @{$row}{qw(place role count refusals)} ], [ '/', 'dev', $connections * $each, 0 ], 'the access review counts');
like(report(qw(--format csv), $log), qr/^person,issuer,project,place,role,first,last,count,refusals,observed\r?\nana,okta,,\/,dev,/, 'as CSV');
like(report($log), qr/^person +issuer +project/, 'as a table');
{
    my $mixed = httpd(issuer_section('okta', "GateRole dev groups=devs\nGateRole nobody groups=none") . issuer_section('keycloak') . gated('/', 'Require valid-user') . gated('/watch/', 'GateMode observe', 'Require gate-role nobody'));
    passes($mixed->get('/', token => $token), 'ana of one issuer');
    passes($mixed->get('/', token => mint(issuer => 'keycloak', claims => { sub => 'ana' })), 'ana of another');
    passes($mixed->get('/watch/', token => $token), 'ana where nothing is refused');
    refused($mixed->get('/', token => 'x'), 401, 'token_malformed', 'nobody');
    Gate::Audit::decisions($mixed->dir . '/audit.log', 4);
    my @rows = map { join ' ', @{$_}{qw(person issuer place count refusals observed)} } @{ JSON->new->utf8->decode(report(qw(--format json), $mixed->dir . '/audit.log')) };
    is_deeply([ sort @rows ], [ '(nobody)  / 1 1 0', 'ana keycloak / 1 0 0', 'ana okta / 1 0 0', 'ana okta /watch/ 1 0 1' ], 'each issuer\'s own, and what was let through is no refusal');
    expect_in_log(qr/GATE202/);
}

# --- the sequence goes on after a stop, also where the state is gone, and after kill -9 ------------------------------

for my $how ('a stop', 'a stop and a lost state', 'kill -9') {
    unlink "$log.chain" if $how =~ /lost/;
    if ($how eq 'kill -9') {
        $httpd->launch;
        my $storm = time + 1;
        my @children = map { $_->{process}{pid} } @decisions[ -1 .. -1 ];
        $httpd->get('/', token => $token) for 1 .. 20;
        my ($parent) = Gate::Audit::text($httpd->dir . '/httpd.pid') =~ /(\d+)/;
        kill KILL => $_ for split ' ', `ps -o pid= --ppid $parent`;
        sleep 1.5;
    } else {
        $httpd->launch;
    }
    passes($httpd->get('/again', token => $token), "after $how it serves");
    $httpd->stop;
    is((verify($log))[0], 0, 'and the chain goes on') or diag((verify($log))[1]);
}
expect_in_log(qr/AH00052|AH00051|AH00045|exit signal Killed/);

# --- one process at a time, and no request waits for its turn -----------------------------------------------------------

my $written = () = grep { $_->{event}{action} eq 'access' } Gate::Audit::lines($log);
$httpd->launch;
$httpd->get('/', token => $token);
Gate::Audit::decisions($log, ++$written);
open my $turn, '+<', "$log.chain" or die $!;
my $all = pack 's s x![q] q q l x![q]', F_WRLCK, SEEK_SET, 0, 0, 0;
fcntl $turn, F_SETLKW, $all or die "lock: $!";
passes($httpd->get("/$_", token => $token), 'while another process writes, a request passes') for 1 .. 3;
sleep 0.5;
is(scalar(() = grep { $_->{event}{action} eq 'access' } Gate::Audit::lines($log)), $written, 'and its line waits');
close $turn;
is(scalar(() = Gate::Audit::decisions($log, $written + 3)), $written + 3, 'for its turn');
$httpd->stop;
is((verify($log))[0], 0, 'and the chain goes on') or diag((verify($log))[1]);

# --- a state that is older than the log, a log that was moved away, a log from before the chain ------------------------

my $lines = "GateAuditLog \@DIR\@/audit.log\n$issuers" . gated('/', 'Require gate-role dev');
my $aged  = httpd($lines, log_level => 'notice');
$log = $aged->dir . '/audit.log';
$aged->get('/', token => $token);
$aged->stop;
$aged->configure("GateAuditChainKey file:$key\n$lines");
$aged->launch;
ok($aged->wait_for_log(qr/GATE603: .*a line without a seal/), 'a chain that would begin behind other lines is told');
$aged->stop;
rename $log, "$log.0";
unlink "$log.chain";
my $run = sub { $aged->launch; $aged->get('/', token => $token); $aged->stop };
$run->();
my $old = Gate::Audit::text("$log.chain");
$run->();
spew_state($old);
$run->();
is((verify($log))[0], 0, 'a state that is older than the log, as after a power loss, gives no number twice') or diag((verify($log))[1]);
my @links = map { /"sequence":(\d+),"hash":"(\w+)"/ ? "$1:$2" : () } Gate::Audit::raw($log);
spew_state(sprintf "%-200s\n", "$links[-3] $links[-1]");
rename $log, "$log.1";
$run->();
is((verify($log, "$log.1"))[0], 0, 'nor does one that was being written, with the log moved away') or diag((verify($log, "$log.1"))[1]);
sub spew_state { my ($text) = @_; open my $state, '+<', "$log.chain" or die $!; print {$state} $text; close $state or die $!; return }

# --- a disk that is full ----------------------------------------------------------------------------------------------

my $status_page = "<Location /status>\nSetHandler gate-status\n</Location>\n";
my $full = httpd("GateAuditLog /dev/full\nGateAuditChainKey file:$key\n$issuers" . gated('/', 'Require gate-role dev') . $status_page);
passes($full->get("/$_", token => $token), 'a full disk holds nobody up') for 1 .. 3;
ok($full->wait_for_log(qr/GATE601/), 'and is told');
my $until = time + 10;
my $lost  = 0;
until ($lost >= 3 || time > $until) { ($lost) = $full->get('/status?metrics', token => $token)->body =~ /^gitlab_gate_audit_lost_total (\d+)$/m; sleep 0.1 }
cmp_ok($lost, '>=', 3, 'and what is lost is counted');
$full->stop;
my $told = () = $full->error_log =~ /GATE601: GateAuditLog can't be written: No space/g;
cmp_ok($told, '<=', 5, 'once a process');

my $required = httpd("GateAuditLog /dev/full\nGateAuditRequired on\n$issuers" . gated('/', 'Require gate-role dev'));
refused($required->get('/', token => $token), 503, 'audit_unavailable', 'with GateAuditRequired nothing passes unwritten');
refused($required->get('/', token => $token), 503, 'audit_unavailable', 'nor later');

# --- a program -----------------------------------------------------------------------------------------------------------

my $program = httpd("GateAuditLog \"|\$/bin/cat >> \@DIR\@/piped.\$\$.log\"\nGateAuditChainKey file:$key\n$issuers" . gated('/', 'Require gate-role dev'));
is(storm($program, 4, 50, sub { sleep 0.3; $program->restart('USR1') }), 0, 'a program reads the log');
sleep 1;
$program->stop;
sleep 0.5;
my @piped = glob $program->dir . '/piped.*.log';
is(scalar(grep { $_->{event}{action} eq 'access' } map { Gate::Audit::lines($_) } @piped), 200, 'and gets every line');
is((verify(@piped))[0], 0, 'unbroken') or diag((verify(@piped))[1]);

my $deaf = httpd("GateAuditLog \"|/bin/sleep 60\"\n$issuers" . gated('/', 'Require gate-role dev'), log_level => 'notice');
my $before = time;
is(storm($deaf, 4, 60, sub { }), 0, 'a program that does not read holds nobody up');
cmp_ok(time - $before, '<', 20, 'for long');
ok($deaf->wait_for_log(qr/GATE601: .*its reader does not read/, 10), 'and is told');
$deaf->stop;

expect_in_log(qr/GATE60[123]/, qr/AH00106|AH00089|AH00090|AH00488|AH03490|piped log/);
finish();
