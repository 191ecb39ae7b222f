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
use IO::Socket::UNIX;
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

# --- where it listens
{
    my $dir = File::Temp->newdir;
    my $path = "$dir/db";
    my @unix = ($gatectl, qw(port --token-env GATE_TOKEN --to echo:1 --gate), $gate, '--listen', "unix:$path");
    my $talk = q{my $s = IO::Socket::UNIX->new(Peer => $ENV{GATECTL_SOCKET}) or exit 7; $s->print("echo\nover unix\n"); $s->flush; exit(<$s> eq "over unix\n" ? 0 : 8)};
    ($status) = run(undef, @unix, '--', 'perl', '-MIO::Socket::UNIX', '-e', $talk);
    is($status, 0, 'a socket of the file system, whose path the command is told');
    ok(!-e $path, 'it is removed at the end');
    ($status, $said) = run(undef, @unix, '--', 'perl', '-e', 'printf "%o", (stat $ENV{GATECTL_SOCKET})[2] & 0777');
    like($said, qr/^600$/m, 'its owner alone may use it');
    ok(IO::Socket::UNIX->new(Local => $path, Listen => 1), 'a socket that nobody listens on any more');
    is((run(undef, @unix, '--', 'true'))[0], 0, 'is replaced');
    open my $file, '>', $path or die $!;
    close $file;
    ($status, $said) = run(undef, @unix, '--', 'true');
    is($status, 2, 'anything else that is there');
    like($said, qr/something else than a socket is there/, 'stays, and says why');
    ok(-f $path, '... untouched');
    unlink $path;
    # Without a command a signal ends it, and the socket goes too.
    for my $signal (qw(TERM INT)) {
        my $serving = Gate::Process->start({ out => "$dir/serving" }, @unix);
        my $until = time + 10;
        sleep 0.02 until -S $path || time > $until;
        ok(-S $path, 'without a command it listens');
        kill $signal => $serving->pid;
        ok($serving->wait_gone(20), "until $signal") or $serving->stop;
        is($serving->{status} >> 8, { TERM => 143, INT => 130 }->{$signal}, 'with the status of a shell');
        ok(!-e $path, '... and the socket is removed');
    }
    my $nohup = Gate::Process->start({ out => "$dir/nohup" }, 'nohup', @unix);
    my $until = time + 10;
    sleep 0.02 until -S $path || time > $until;
    kill $_ => $nohup->pid for qw(HUP TERM);
    $nohup->wait_gone(20) or $nohup->stop;
    is($nohup->{status} >> 8, 143, 'a signal that is ignored by nohup does not end it');
    my $other = IO::Socket::UNIX->new(Local => $path, Listen => 1);
    ($status, $said) = run(undef, @unix, '--', 'true');
    like($said, qr/another process listens there/, 'a socket that somebody listens on stays');
    ($status, $said) = run(undef, $gatectl, qw(port --token-env GATE_TOKEN --to echo:1 --gate), $gate, qw(--listen 127.0.0.1:0 -- sh -c), 'echo port=$GATECTL_PORT');
    like($said, qr/^port=[1-9]\d+$/m, 'port 0: the command is told which');
    for my $listen (qw(0.0.0.0:0 [::]:0)) {
        my @any = ($gatectl, qw(port --token-env GATE_TOKEN --to echo:1 --gate), $gate, '--listen', $listen);
        ($status, $said) = run(undef, @any, '--', 'true');
        is($status, 2, "$listen: wrong usage");
        like($said, qr/is not loopback.*--listen-any/, 'says what to write');
        is((run(undef, @any, '--listen-any', '--', 'true'))[0], 0, '... or that it is meant') if $listen !~ /::/;
    }
}
for my $words ([ 'token', $ENV{GATE_TOKEN} ], [ $ENV{GATE_TOKEN} ], [ 'port', $ENV{GATE_TOKEN} ], [ 'port', "--$ENV{GATE_TOKEN}", 'x' ], [ 'audit', 'verify', "--$ENV{GATE_TOKEN}" ], [ 'token', '--issuer=x', 'glpat-aB3' ],
    # where a variable's name, a URL, an address or a file belongs
    (map { [ 'port', qw(--gate http://127.0.0.1:1 --to a:1 --stdio --token-env), @$_ ] } [ $ENV{GATE_TOKEN} ], ['glpat-aB3'], [ 'GATE_TOKEN', '--job-token-env', 'glpat-aB3' ]),
    (map { [ 'port', qw(--to a:1 --stdio --token-env GATE_TOKEN --gate), $_ ] } $ENV{GATE_TOKEN}, "https://x:$ENV{GATE_TOKEN}\@127.0.0.1:1"),
    [ 'port', qw(--gate http://127.0.0.1:1 --stdio --token-env GATE_TOKEN --to), $ENV{GATE_TOKEN} ],
    [ 'port', qw(--gate http://127.0.0.1:1 --to a:1 --token-env GATE_TOKEN --listen), $ENV{GATE_TOKEN} ],
    [ 'port', qw(--gate https://127.0.0.1:1 --to a:1 --stdio --token-env GATE_TOKEN --ca-file), $ENV{GATE_TOKEN} ],
    [ 'audit', 'verify', '--key', $ENV{GATE_TOKEN}, 'x' ], [ 'audit', 'report', $ENV{GATE_TOKEN} ], [ qw(audit report x --format), $ENV{GATE_TOKEN} ]) {
    ($status, $said) = run(undef, $gatectl, @$words);
    is($status, 2, 'a token among the words: wrong usage');
    unlike($said, qr/\Q$ENV{GATE_TOKEN}\E|glpat-aB3/, 'and it is not shown');
}

# --- wrong words
for my $case (
    [ 'no token',        qr/--token-env GATE_NOTHING: no variable of that name/, qw(--gate http://127.0.0.1:1 --to a:1 --stdio --token-env GATE_NOTHING) ],
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
