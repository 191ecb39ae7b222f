# Under load: keys rotate, the issuer goes away while httpd restarts, httpd restarts twenty times. No valid request is refused.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Load;
use File::Temp ();
use Time::HiRes qw(time sleep);

my $whole = Gate::Httpd::mpm() eq 'event';    # the others see the short form
my $httpd = httpd(
    issuer_section('turn') . issuer_section('a', 'GateRefresh 1s', 'GateTimeout 1s') . gated('/', 'Require valid-user'),
    head => $whole ? 'MaxRequestWorkers 64' : '',
);
sub get { my ($token) = @_; return $httpd->get('/x', token => $token) }
sub calm { my ($name, $load) = @_; my ($count, @wrong) = $load->stop; cmp_ok($count, '>', 10, "$name: $count requests"); is(join("\n", @wrong), '', "$name: none of them was refused"); return }

# -- rotation as issuers do it: the new key is published, signs, and the old one leaves
my $stage = File::Temp->new;
sub signs_with { my ($key) = @_; Gate::Httpd::spew("$stage.new", $key); rename "$stage.new", "$stage" or die $!; return }
sub turn { my ($client) = @_; my $key = Gate::Httpd::slurp("$stage"); return get(mint(issuer => 'turn', key => $key, kid => $key, alg => $key =~ /^es/ ? 'ES256' : 'RS256', claims => { jti => rand })) }
my @keys = ('rs1', 'rs2', $whole ? 'es1' : ());
control('set', issuer => 'turn', jwks => ['rs1']);
signs_with('rs1');
passes(turn(), 'before the rotation');
my $load = Gate::Load->start(clients => 3, ask => \&turn);
sleep 1;
for my $at (1 .. $#keys) {
    sleep 11 if $at > 1;    # a new key is asked for at most every 10 s
    my ($old, $new) = @keys[ $at - 1, $at ];
    control('set', issuer => 'turn', jwks => [ $old, $new ]);
    signs_with($new);
    sleep 1;
    control('set', issuer => 'turn', jwks => [$new]);
    sleep 1;
}
calm('rotation', $load);
is(counts('turn')->{jwks}, scalar @keys, 'the keys were fetched once at the start and once for each new one');

# -- the issuer is away for the length of a restart
my $token = mint(issuer => 'a');
passes(get($token), 'while the issuer is well');
control('set', issuer => 'a', mode => 'down');
expect_in_log(qr/GATE311: issuer a: /);
for my $how (qw(HUP USR1)) {
    ok($httpd->restart($how), "a restart ($how) while the issuer is away");
    sleep 0.5;
    passes(get($token), 'still serves');
    passes(get(mint(issuer => 'a', claims => { jti => $how })), 'tokens that it has never seen too');
}
$httpd->stop;
unlink $httpd->dir . '/httpd.pid';
$httpd->launch;
passes(get($token), 'and after a stop and a start');
refused(get(mint(issuer => 'a', kid => 'nobody')), 401, 'key_unknown', 'an unknown key is refused as ever');
control('set', issuer => 'a', mode => 'ok');

# -- graceful restarts
sub children { return split ' ', `pgrep -P @{[ $httpd->{process}->pid ]}` }
sub measures {
    my $pid = $httpd->{process}->pid;
    my ($rss) = Gate::Httpd::slurp("/proc/$pid/status") =~ /VmRSS:\s+(\d+)/;
    my ($threads) = Gate::Httpd::slurp("/proc/$pid/status") =~ /Threads:\s+(\d+)/;
    my $files = () = glob "/proc/$pid/fd/*";
    return ($rss, $threads, $files);
}
my @tokens = map { mint(issuer => 'a', claims => { jti => $_ }) } 1 .. 20;
$load = Gate::Load->start(clients => 3, ask => sub { get($tokens[ rand @tokens ]) });
my ($restarts, $after) = $whole ? (20, 5) : (4, 2);
my (@early, $done);
for my $round (1 .. $restarts) {
    $done += $httpd->restart('USR1') ? 1 : 0;
    sleep 0.2;
    @early = measures() if $round == $after;
}
is($done, $restarts, "$restarts graceful restarts");
my @late = measures();
calm('graceful restarts', $load);
cmp_ok($late[0] - $early[0], '<', 2048, "the parent's memory is flat ($early[0] kB after $after restarts, $late[0] kB after $restarts)");
is($late[1], $early[1], 'so are its threads');
is($late[2], $early[2], 'and its file handles');
unlike($httpd->error_log, qr/exit signal|Segmentation|GATE50/, 'no child crashed');
my $until = time + 20;
my $wanted = $whole ? 5 : 8;
sleep 0.3 while children() > $wanted && time < $until;
cmp_ok(scalar children(), '<=', $wanted, 'the children of old generations are gone');

# -- what a child holds after all that
if ($whole) {
    my %before = map { $_ => scalar(my @it = glob "/proc/$_/fd/*") } children();
    get($tokens[ rand @tokens ]) for 1 .. 200;
    control('set', issuer => 'a', jwks => [ $_ % 2 ? ('rs1', 'rs2') : 'rs1' ]), sleep 1.2 for 1 .. 3;
    my @more = grep { exists $before{$_} && (my @it = glob "/proc/$_/fd/*") > $before{$_} + 6 } children();
    is("@more", '', 'no child opens file after file');
}
finish();
