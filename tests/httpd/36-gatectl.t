# gatectl port around a command: its exit status, the signals that it is sent, the word before the end, what is wrong
# with its words. What goes through the port is 31-clients.t's.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Gatectl;
use Gate::Port;
use File::Temp ();
use IO::Socket::INET;
use Time::HiRes qw(sleep time);

my $dir     = File::Temp->newdir('gate-gatectl-XXXXXX', TMPDIR => 1);
my $target  = target('127.0.0.1:0');
my $httpd   = httpd(issuer_section('ci', 'GateKind gitlab', 'GateRole deployer project_path=shop/orders') . <<"END");
<GatePort echo:1>
    GateTarget $target
    AuthType Gate
    Require gate-role deployer
</GatePort>
END
my $gate  = 'http://127.0.0.1:' . $httpd->port;
my $local = Gate::Httpd::free_port();
my @port  = ($gatectl, qw(port --token-env GATE_TOKEN --to echo:1 --gate), $gate, '--listen', "127.0.0.1:$local");
$ENV{GATE_TOKEN} = mint(issuer => 'ci', shape => 'gitlab');

# (exit status, what it said): runs it, and once it said `ready` sends it a signal.
sub run {
    my ($signal, @command) = @_;
    my $out = "$dir/out";
    unlink $out;
    my $process = Gate::Process->start({ out => $out }, @command);
    if ($signal) {
        my $until = time + 10;
        sleep 0.02 until Gate::Httpd::slurp($out) =~ /ready/ || time > $until;
        kill $signal => $process->pid;
    }
    $process->wait_gone(20) or do { $process->stop; return ('it does not end', Gate::Httpd::slurp($out)) };
    return ($process->{status} & 127 ? 'signal ' . ($process->{status} & 127) : $process->{status} >> 8, Gate::Httpd::slurp($out));
}

for my $status (0, 1, 42, 255) {
    my ($got) = run(undef, @port, '--', 'sh', '-c', "exit $status");
    is($got, $status, "a command that ends with $status");
}
my ($status, $said);
# A shell runs what is in the background with INT and QUIT ignored, and who inherits that can't trap them.
$SIG{$_} = 'DEFAULT' for qw(INT QUIT);
for my $signal (qw(TERM HUP INT QUIT USR1 USR2)) {
    ($status, $said) = run($signal, @port, '--', 'sh', '-c', "trap 'echo got $signal; exit 9' $signal; echo ready; while :; do sleep 0.05; done");
    is($status, 9, "SIG$signal is passed on, and the command has the last word");
    like($said, qr/got $signal/, 'it has come');
}
# gatectl must not die of one that comes before it had time to look: the command sends it as its first act.
my %early;
$early{ (run(undef, @port, '--', 'sh', '-c', 'trap "exit 9" TERM; kill -TERM $PPID; while :; do sleep 0.05; done'))[0] }++ for 1 .. 20;
is_deeply(\%early, { 9 => 20 }, 'nor is one lost that comes at once');
($status) = run('TERM', @port, '--', 'sh', '-c', 'echo ready; exec sleep 30');
is($status, 128 + 15, 'a command that a signal ends');
($status, $said) = run(undef, @port, '--', '/nowhere/nothing');
is($status, 127, 'a command that is not there');
like($said, qr{^gatectl: /nowhere/nothing: }m, 'is named');

# Tunnels that are open when the command ends do not hold it.
($status) = run(undef, @port, '--', 'perl', '-MIO::Socket::INET', '-e', "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1:$local')->syswrite(qq{echo\\n}) if !fork; wait; exit 5");
is($status, 5, 'the end of the command is the end');
my $until = time + 10;
sleep 0.1 until !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $local) || time > $until;
ok(time < $until, 'nobody listens there any more');

# --- the word before the end
{
    local $ENV{GATE_TOKEN} = mint(issuer => 'ci', shape => 'gitlab', exp_in => 4);
    my $client = "my \$s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:$local'); \$s->syswrite(qq{echo\\n}); print 'ended ', \$s->sysread(my \$b, 1), qq{\\n}";
    ($status, $said) = run(undef, @port, '--', 'perl', '-MIO::Socket::INET', '-e', "$client");
    is($status, 0, 'a port that ends before its command');
    like($said, qr/^gatectl: the port echo:1 will be closed in [1-4] s$/m, 'is announced');
    like($said, qr/^ended 0$/m, 'and the client sees its end');
}

# --- how it is used
for my $words ([qw(--help)], [qw(help)], [qw(port --help)], [qw(token --help)], [qw(token -h)], [qw(explain --help)], [qw(audit --help)], [qw(audit verify --help)], [qw(audit report --help)]) {
    my $stdout = `$gatectl @$words 2>/dev/null </dev/null`;
    is($?, 0, "gatectl @$words");
    like($stdout, qr/^  gatectl explain --config/m, 'says how');
}
is((gatectl("\xff\xfe.x.y", 'token'))[0], 1, 'what is no text is no token');
is((gatectl('', 'token'))[0], 2, 'nothing is wrong usage');
($status) = run(undef, @port, '--', 'sh', '-c', 'exit 3', '--help');
is($status, 3, "a command's own --help");
for my $script (qw(build demo install test)) {
    my $stdout = `$FindBin::RealBin/../../apxs/$script --help 2>/dev/null`;
    is($?, 0, "apxs/$script --help");
    like($stdout, qr{^  apxs/$script }m, 'says how');
}

# --- wrong words
for my $case (
    [ 'no token',        qr/GATE_NOTHING holds no token/, qw(--gate http://127.0.0.1:1 --to a:1 --stdio --token-env GATE_NOTHING) ],
    [ 'no port',         qr/write NAME:PORT/,             qw(--gate http://127.0.0.1:1 --to a --stdio --token-env GATE_TOKEN) ],
    [ 'a gate in clear', qr/--gate/,                      qw(--gate http://gate.example.com --to a:1 --stdio --token-env GATE_TOKEN) ],
    [ 'a word twice',    qr/--to is there twice/,         qw(--to a:1 --to b:1) ],
) {
    my ($name, $says, @words) = @$case;
    ($status, $said) = run(undef, $gatectl, 'port', @words);
    is($status, 2, "$name: wrong usage");
    like($said, $says, 'says what is wrong');
    unlike($said, qr/\Q$ENV{GATE_TOKEN}\E/, 'and no token');
}
finish();
