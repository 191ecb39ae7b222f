# The module under valgrind's memcheck: requests of each kind and ports that end in each way, no error in memory that is
# ours, and no socket that stays open. The long run, in which one process also follows another, is
# GATE_MEMCHECK=10000 GATE_MEMCHECK_RESTARTS=20 ./apxs/test --quick 50-memcheck.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Temp ();
use Gate;
use Gate::Port;
use Time::HiRes qw(sleep time);

if (($ENV{GATE_TEST_MPM} || 'event') ne 'event' || !-x '/usr/bin/valgrind') {
    plan skip_all => 'with the event MPM and valgrind only';
}
my $each = int(($ENV{GATE_MEMCHECK} || 200) / 10);
my $restarts = $ENV{GATE_MEMCHECK_RESTARTS} || 0;

# valgrind's httpd has no root to read them by, and the clone may stand in a private home.
my $shelf = File::Temp->newdir('gate-memcheck-XXXXXX', TMPDIR => 1);
chmod 0755, "$shelf";
system('cp', $ENV{GATE_MODULE}, "$FindBin::RealBin/memcheck.supp", "$shelf/") == 0 or die "no copies\n";
$ENV{GATE_MODULE} = "$shelf/mod_gitlab_gate.so";

my $target = target('127.0.0.1:0');
sub port { return join "\n", "<GatePort $_[0]>", "GateTarget $target", 'AuthType Gate', 'Require gate-role deployer', @_[ 1 .. $#_ ], '</GatePort>', '' }
my $httpd = Gate::Httpd->new(issuer_section('ci', 'GateKind gitlab', 'GateTimeout 60s', 'GateRole deployer project_path=shop/orders ref_protected=true', 'GateJobAPI ' . gitlab() . '/api/v4 every=1s')
        . port('db:1', 'GateJob on', 'GateMaxOpen 50') . port('short:1', 'GateLifetime 1s') . port('dead:1', 'GateTarget 127.0.0.1:' . Gate::Httpd::free_port())
        . gated('/', 'GateTokenFrom bearer basic cookie:t query:t', 'Require gate-role deployer'));
# One process, or each generation's, and no user to become: a report is written at a process's end.
my @as = $> == 0 ? qw(setpriv --reuid=www-data --regid=www-data --clear-groups) : ();
system 'chown', '-R', 'www-data', $httpd->dir if $> == 0;
my $report = $httpd->dir . '/memcheck';
my $process = Gate::Process->start({ out => $httpd->dir . '/stderr.log' }, @as, 'valgrind', '--keep-debuginfo=yes', '--leak-check=full',
    '--show-leak-kinds=definite', '--track-fds=yes', '--num-callers=30', '--trace-children=yes', "--log-file=$report.%p", "--suppressions=$shelf/memcheck.supp", $httpd->command($restarts ? '-DFOREGROUND' : '-X'));
my $until = time + 60;
sleep 0.2 until IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $httpd->port, Timeout => 1) || time > $until || !$process->alive;

my %ci = (issuer => 'ci', shape => 'gitlab');
my %wanted;
my $ask = sub {
    my ($kind, $status, @with) = @_;
    my $got = $httpd->get(@with)->status;
    $wanted{$kind}++ if $got == $status;
    note("$kind: $got") if $got != $status;
};
my $hot = mint(%ci, exp_in => 86_400);
for my $round (1 .. $each) {
    if ($restarts && $round % (int($each / ($restarts + 1)) || 1) == 0) {
        kill USR1 => $process->pid;
        sleep 2;
        $wanted{restart}++ if $httpd->get('/')->status == 401;    # waits for the next generation, which valgrind makes slow
    }
    my $fresh = mint(%ci, claims => { jti => "memcheck-$round" }, alg => $round % 2 ? 'ES256' : 'RS256');
    $ask->('hot',     200, '/', token => $hot);
    $ask->('cold',    200, '/', token => $fresh);
    $ask->('cookie',  200, '/', headers => [ Cookie => "a=1; t=$fresh; b=2" ]);
    $ask->('query',   200, "/?a=1&t=$fresh&b=2");
    $ask->('role',    403, '/', token => mint(%ci, claims => { ref_protected => 'false' }));
    $ask->('bad',     401, '/', token => mint(%ci, mutate => 'flip_sig'));
    $ask->('expired', 401, '/', token => mint(%ci, exp_in => -100, iat_in => -400, nbf_in => -400));
    $ask->('kid',     401, '/', token => mint(%ci, kid => "nobody-$round"));
    $ask->('none',    401, '/');
    $ask->('garbage', 401, '/', token => 'a.b.c' x $round);
}
# Ports: closed by the client, the target, a deadline, the end of the job; at full speed, and refused.
gitlab_job(id => 302, project => 20, status => 'running', token => 'glcbt-302');
my @job = (headers => [ 'Gate-Job-Token' => 'glcbt-302' ]);
my $open = sub { my ($answer, $one) = tunnel($httpd->port, @_); $wanted{port}++ if $answer->status == 200; return $one };
for my $round (1 .. 3) {
    my $one = $open->('db:1', $hot, @job);
    $one->say("echo\nhello");
    $wanted{echo}++ if $one->read(5) eq 'hello';
    $one->close;
    $one = $open->('db:1', $hot, @job);
    $one->say("half\n");
    $wanted{half}++ if $one->rest eq "half\n";
    $one->close;
    $one = $open->('short:1', $hot);
    $one->say("flood\n");
    $wanted{flood}++ if $one->count_rest > 0;
    $wanted{refused}++ if (tunnel($httpd->port, 'dead:1', $hot))[0]->status == 502;
    $wanted{refused}++ if (tunnel($httpd->port, 'nobody:1', $hot))[0]->status == 403;
    $wanted{refused}++ if (tunnel($httpd->port, 'db:1', $hot))[0]->status == 403;
}
my $last = $open->('db:1', $hot, @job);
gitlab_job(id => 302, project => 20, status => 'success', token => 'glcbt-302');
is($last->rest, '', 'under valgrind: the end of the job closes its port');
is(join(' ', map { $wanted{$_} // 0 } qw(port echo half flood refused)), '10 3 3 3 9', 'under valgrind: ports');

is($wanted{$_}, $each, "under valgrind: $_") for qw(hot cold cookie query role bad expired kid none garbage);

kill TERM => $process->pid;
ok($process->wait_gone(60), 'it ends');
my $text = join "\n", map { Gate::Httpd::slurp($_) } glob "$report.*";
cmp_ok(scalar(() = $text =~ /ERROR SUMMARY/g), '>', $restarts, 'valgrind has reported');
# httpd and its libraries are not ours to judge: what counts is a report that names our module's code.
my @ours = grep { /gitlab_gate|c_shim|shim_|gate_/ && /Invalid|uninitialised|definitely lost|Mismatched|overlap/ } split /\n==\d+== \n/, $text;
is(scalar @ours, 0, 'no error and no definite leak of ours') or diag(join "\n\n", @ours[0 .. ($#ours > 3 ? 3 : $#ours)]);
# The children's own tunnels are closed long before the end: what is left is httpd's (its ports, its logs).
my @sockets = grep { /127\.0\.0\.1:\d+ <-> 127\.0\.0\.1:\d+/ } split /\n/, $text;
like($text, qr/FILE DESCRIPTORS: \d+ open/, 'it has counted descriptors');
is(join("\n", @sockets), '', 'no connection is left open');

push @Gate::httpds, $httpd;
expect_in_log(qr/GATE401/, qr/AH\d+/, qr/^==/);
finish();
