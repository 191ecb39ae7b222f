#!/usr/bin/env perl
# The soak behind tests/soak/run.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../httpd/lib";
use Gate;
use Time::HiRes qw(time);

my $seconds = $ARGV[0] || 3600;
my $until = time + $seconds;
# Requests of a kind in a round, and distinct tokens among them: few in the short run of the tests.
my ($count, $tokens) = $seconds < 60 ? (300, 50) : (2000, 500);
my $upstream = Gate::Process->start_listening($ENV{GATE_LOAD}, 'upstream');
my $httpd = httpd(
    issuer_section('ci', 'GateKind gitlab', 'GateRole deployer project_path=shop/orders ref_protected=true', 'GateRefresh 60s', 'GateTimeout 2s')
        . "GateCacheSize 4M\n<Location />\nAuthType Gate\nAuthName soak\nRequire gate-role deployer\nProxyPass http://" . $upstream->address . "/\n</Location>\n",
    log_level => 'error');
my $dir = $httpd->dir;

# What is sent, and what must come back.
my %kinds = (
    good    => [ '200',             {} ],
    role    => [ '403 role',        { claims => { ref_protected => 'false' } } ],
    bad     => [ '401 signature',   { mutate => 'flip_sig' } ],
    expired => [ '401 expired',     { exp_in => -100, iat_in => -400, nbf_in => -400 } ],
    kid     => [ '401 key_unknown', { kid => 'nobody' } ],
);
my $made = 0;
sub load {
    my ($kind, $count) = @_;
    my $file = "$dir/soak." . ++$made % 20;
    my $alg = $made % 2 ? 'RS256' : 'ES256';
    Gate::Httpd::spew("$file.json", JSON::encode_json({ base => issuer_base(), issuer => 'ci', shape => 'gitlab', alg => $alg, %{ $kinds{$kind}[1] } }));
    system("$ENV{GATE_LOAD} mint $tokens < $file.json > $file") == 0 or die "no tokens\n";
    my $text = `$ENV{GATE_LOAD} run @{[ $httpd->port ]} / $file 8 $count`;
    return $? ? { "(the load failed: $text)" => 1 } : JSON::decode_json($text)->{statuses};
}

sub resident_kb {
    my $pid = $httpd->{process}->pid;
    my @sizes = map { Gate::Httpd::slurp("/proc/$_/status") =~ /VmRSS:\s+(\d+)/ ? $1 : 0 } $pid, split ' ', Gate::Httpd::slurp("/proc/$pid/task/$pid/children");
    return (sort { $b <=> $a } @sizes)[0];
}

my @events = (
    sub { control('set', issuer => 'ci', jwks => [qw(rs1 es1 rs2 es2)]) },          # keys come
    sub { $httpd->restart('USR1') },
    sub { control('set', issuer => 'ci', jwks => [qw(rs1 es1)], mode => 'error500') },    # the issuer is away
    sub { control('set', issuer => 'ci', jwks => [qw(rs1 es1)], mode => 'hang') },
    sub { $httpd->restart('USR1') },
    sub { control('set', issuer => 'ci', jwks => [qw(rs1 es1)]) },                   # keys go
);
my (%sum, %wrong, $first, $last);
my $round = 0;
load('good', $count);
while (time < $until || $round < @events) {
    $events[ $round++ % @events ]->();
    for my $kind (sort keys %kinds) {
        my $seen = load($kind, $count);
        $sum{$kind} += $_ for values %$seen;
        $wrong{"$kind: $_"} += $seen->{$_} for grep { $_ ne $kinds{$kind}[0] } keys %$seen;
    }
    $last = resident_kb();
    $first = $last if $round <= @events && $last > ($first // 0);    # a full cache: the first turn of events
}
note(sprintf '%d rounds; %s; memory of the largest process: %d kB in the first turn, %d kB at the end', $round,
    join(', ', map { "$_ $sum{$_}" } sort keys %sum), $first, $last);
is(JSON->new->canonical->encode(\%wrong), '{}', 'no wrong answer, and no 5xx');
cmp_ok($last, '<', $first * 1.2 + 8192, 'memory stays');
$httpd->stop;
is(scalar(grep { /GATE5\d\d|segfault|Segmentation/ } split /\n/, $httpd->error_log), 0, 'no fault in the log');
done_testing();
