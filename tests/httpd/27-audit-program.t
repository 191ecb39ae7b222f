# A program that reads the audit log, as real ones do (rotatelogs, tee): httpd's piped log. It gets every line over
# graceful restarts, and is started again where it ends. The last lines before httpd ends are no promise: httpd sends
# its programs TERM.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Audit;
use Gate::Gatectl;
use Gate::Port;
use File::Temp ();
use POSIX ();
use Time::HiRes qw(sleep time);

my $dir = File::Temp->newdir;
chmod 0777, "$dir";
my $issuers = issuer_section('okta', 'GateRole dev groups=devs') . issuer_section('ci', 'GateKind gitlab');
my $token   = mint(issuer => 'okta', claims => { sub => 'ana', groups => ['devs'] });
my $job     = mint(issuer => 'ci', shape => 'gitlab');
my $port    = "<GatePort echo:1>\nAuthType Gate\nGateAccept ci\nGateTarget " . target('127.0.0.1:0') . "\nRequire valid-user\n</GatePort>\n";

my $key = "$dir/key";
open my $out, '>', $key or die $!;
print {$out} 'k' x 43;
close $out or die $!;

sub conf { my ($program) = @_; return "GateAuditLog \"|$program\"\nGateAuditChainKey file:$key\n$issuers$port" . gated('/', 'GateAccept okta', 'Require gate-role dev') }
sub unbroken { my ($name, @files) = @_; my ($status, $text) = gatectl(undef, qw(audit verify --key), $key, @files); return is($status, 0, $name) || diag($text) }
sub actions { my ($wanted, @files) = @_; return join ' ', grep { /$wanted/ } map { $_->{event}{action} } map { Gate::Audit::lines($_) } @files }
sub until_true { my ($what) = @_; my $until = time + 10; sleep 0.05 until $what->() || time > $until; return $what->() }

# The program's processes: what httpd's own process has begotten under that name.
sub programs {
    my ($httpd, $name) = @_;
    my ($parent) = Gate::Audit::text($httpd->dir . '/httpd.pid') =~ /(\d+)/ or return;
    return grep { Gate::Audit::text("/proc/$_/stat") =~ /^\d+ \(\Q$name\E\) (\w) (\d+)/ && $2 == $parent } map { m{(\d+)} } glob '/proc/[0-9]*';
}

# The same, once there is one: a fork of httpd's has httpd's name until it is the program.
sub running { my @with = @_; until_true(sub { scalar(my @found = programs(@with)) }); return programs(@with) }

for my $program ("/usr/bin/rotatelogs $dir/%Y.log 86400", "/usr/bin/tee -a $dir/tee.log") {
    my ($name) = $program =~ m{/(\w+) };
    my $log   = $name eq 'tee' ? "$dir/tee.log" : POSIX::strftime("$dir/%Y.log", gmtime);
    my $httpd = httpd(conf($program), log_level => 'notice');
    my ($pid, @more) = running($httpd, $name);
    ok($pid && !@more, "$name runs once");
    my $held = join ' ', map { readlink // () } glob "/proc/$pid/fd/*";
    unlike($held, qr/socket:/, 'and holds no socket of httpd\'s');
    my ($pipe) = map { readlink // () } "/proc/$pid/fd/0";
    is(scalar(() = $held =~ /\Q$pipe\E/g), 1, 'nor the other end of what it reads');

    my ($answer, $tunnel) = tunnel($httpd->port, 'echo:1', $job);
    is($answer->status, 200, 'a port is opened');
    for (1 .. 3) {
        passes($httpd->get('/', token => $token), 'a request');
        $httpd->restart('USR1');
    }
    passes($httpd->get('/', token => $token), 'a request after three graceful restarts');
    is(join(' ', programs($httpd, $name)), $pid, "$name is still the same, alone");
    $tunnel->close;
    Gate::Audit::wait_for($log, 1, sub { $_[0]{event}{action} eq 'port-close' });
    $httpd->stop;
    like(actions(qr/gate-/, $log), qr/^(gate-start gate-restart ){3}gate-start\b/, 'each start and restart is there');
    is(join(' ', sort split / /, actions(qr/port-|access/, $log)), join(' ', ('access') x 4, 'port-close', 'port-open'), 'each decision, and the close of the port that was open over the restarts');
    unbroken('the chain is unbroken', $log);
    ok(until_true(sub { !-d "/proc/$pid" }), "$name has ended");
}

# --- it ends; another one is named -----------------------------------------------------------------------------------------

my $httpd = httpd(conf("/usr/bin/tee -a $dir/one.log"), log_level => 'notice');
my ($pid) = running($httpd, 'tee');
kill KILL => $pid;
ok($httpd->wait_for_log(qr/AH00106: piped log program '.*tee -a .*' failed unexpectedly/, 10), 'httpd logs that the program has ended');
ok(until_true(sub { my @now = programs($httpd, 'tee'); @now == 1 && $now[0] != $pid }), 'and starts it again');
passes($httpd->get('/', token => $token), 'a request');

$httpd->configure(conf("/usr/bin/tee -a $dir/two.log"));
$httpd->restart('USR1');
ok(until_true(sub { programs($httpd, 'tee') == 1 }), 'after a restart with another program the first ends');
passes($httpd->get('/', token => $token), 'a request');
ok(until_true(sub { actions(qr/access/, "$dir/two.log") eq 'access' }), 'whose line the second gets');
$httpd->restart('HUP');
passes($httpd->get('/', token => $token), 'and after a restart at once');
ok(until_true(sub { actions(qr/access/, "$dir/two.log") eq 'access access' }), 'the second, started again, gets the next line');
$httpd->stop;
like(actions(qr/gate-/, "$dir/one.log"), qr/^gate-start\b/, 'the first has its first line');
like(actions(qr/gate-/, "$dir/two.log"), qr/^gate-start (?:gate-restart )?gate-start\b/, 'the second goes on');

# AH00488: the first program, ended by the restart; GATE601: an old child that still writes to it
expect_in_log(qr/AH00106|AH00488|GATE601: .*Broken pipe/, qr/^\{"\@timestamp"/);    # tee writes it twice
finish();
