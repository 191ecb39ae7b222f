#!/usr/bin/env perl
# The bench behind tests/bench/ports: two httpd, one with a <GatePort>, one with mod_proxy_connect, both leading to the
# same private service. Judges nothing: medians and ratios.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../httpd/lib";
use File::Temp ();
use Getopt::Long;
use IO::Socket::INET;
use IO::Socket::SSL ();
use Time::HiRes qw(sleep time);
use Gate          ();
use Gate::Httpd   ();
use Gate::Process ();

my ($rounds, $megabytes) = (7, 400);
GetOptions('rounds=i' => \$rounds, 'megabytes=i' => \$megabytes) or exit 2;
my $bytes = $megabytes << 20;

# The gate on one processor, the client and the service on the other.
my $two = `nproc` > 1;
my @gate_cpu = $two ? qw(taskset -c 0) : ();
my @load_cpu = $two ? qw(taskset -c 1) : ();
system "taskset -cp 1 $$ >/dev/null" if $two;

my $dir = File::Temp->newdir('gate-bench-XXXXXX', TMPDIR => 1);
system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout $dir/key.pem -out $dir/cert.pem 2>/dev/null") == 0 or die 'openssl';
my $service = Gate::Process->start_listening(@load_cpu, $ENV{GATE_TESTKIT}, 'target', '--listen', '127.0.0.1:0');
my $target = $service->address;
my ($target_port) = $target =~ /:(\d+)$/;

sub vhost { return "Listen 127.0.0.1:$_[0]\n<VirtualHost 127.0.0.1:$_[0]>\nSSLEngine on\nSSLCertificateFile $dir/cert.pem\nSSLCertificateKeyFile $dir/key.pem\nProtocols http/1.1\n$_[1]</VirtualHost>\n" }

sub start {
    my ($name, $config, $inside, @modules) = @_;
    my $tls = Gate::Httpd::free_port();
    my $httpd = Gate::Httpd->new($config . vhost($tls, $inside), mpm => 'event', modules => [ 'ssl', 'socache_shmcb', @modules ], log_level => 'error',
        head => "StartServers 1\nServerLimit 1\nMaxRequestWorkers 8", $name eq 'gate' ? () : (without_gate => 1));
    $httpd->{process} = Gate::Process->start({ out => $httpd->dir . '/stderr.log' }, @gate_cpu, $httpd->command('-DFOREGROUND'));
    my $until = time + 20;
    sleep 0.05 until time > $until || IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $tls, Timeout => 1);
    return { name => $name, httpd => $httpd, port => { plain => $httpd->port, TLS => $tls } };
}

my $proxy = "ProxyRequests On\nAllowCONNECT $target_port\n<Proxy \"*\">\nRequire all granted\n</Proxy>\n";
my @servers = (
    start('mod_proxy_connect', $proxy, $proxy, 'proxy_connect'),
    start('gate', Gate::issuer_section('ci', 'GateKind gitlab', 'GateRole deployer project_path=shop/orders') . <<"END", ''),
<GatePort $target>
    AuthType Gate
    Require gate-role deployer
</GatePort>
END
);
my $token = Gate::mint(issuer => 'ci', shape => 'gitlab', exp_in => 86_400);

sub family { my ($pid) = @_; return ($pid, map { family($_) } split ' ', Gate::Httpd::slurp("/proc/$pid/task/$pid/children")) }

# Seconds that all threads of a server have run, by the scheduler's own count.
sub run_time {
    my ($server) = @_;
    my $sum = 0;
    for my $pid (family($server->{httpd}{process}->pid)) { $sum += (split ' ', Gate::Httpd::slurp($_))[0] // 0 for glob "/proc/$pid/task/*/schedstat" }
    return $sum / 1e9;
}

sub connected {
    my ($server, $way) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $server->{port}{$way}, Timeout => 5) or die "$server->{name}: $@";
    IO::Socket::SSL->start_SSL($socket, SSL_verify_mode => 0) or die $IO::Socket::SSL::SSL_ERROR if $way eq 'TLS';
    syswrite $socket, "CONNECT $target HTTP/1.1\r\nHost: $target\r\nProxy-Authorization: Bearer $token\r\n\r\n";
    my $head = '';
    while ($head !~ /\r\n\r\n$/) { sysread($socket, $head, 1, length $head) or die "$server->{name}: $head" }
    die "$server->{name}: $head" if $head !~ m{^HTTP/1\.\d 200};
    return $socket;
}

# (seconds, seconds of the server's CPU) for so many bytes.
sub once {
    my ($server, $way, $direction) = @_;
    my $socket = connected($server, $way);
    my ($cpu, $start, $left, $block) = (run_time($server), time, $bytes, '.' x 262_144);
    if ($direction eq 'down') {
        syswrite $socket, "flood\n";
        while ($left > 0) { $left -= sysread($socket, $block, 262_144) || die "$server->{name}: it ended" }
    } else {
        syswrite $socket, "eat\n";
        while ($left > 0) { $left -= syswrite($socket, $block) || die "$server->{name}: it ended: $!" }
    }
    my @took = (time - $start, run_time($server) - $cpu);
    close $socket;
    sleep 0.1;
    return @took;
}

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ $#sorted / 2 ] }

my %got;
for my $round (0 .. $rounds) {
    for my $way ('plain', 'TLS') {
        for my $direction (qw(down up)) {
            for my $server ($round % 2 ? @servers : reverse @servers) {
                my @took = once($server, $way, $direction);
                next if $round == 0;    # warms everything up
                push @{ $got{"$way $direction"}{ $server->{name} }[$_] }, $took[$_] for 0, 1;
            }
        }
    }
    print STDERR "round $round of $rounds\n";
}

print "Megabytes per second through one tunnel, medians of $rounds rounds of $megabytes MB; in brackets CPU milliseconds of the server per 100 MB.\n\n";
print "| | mod_proxy_connect | gate | gate / bare, speed | gate / bare, CPU |\n|---|---:|---:|---:|---:|\n";
for my $run ('plain down', 'plain up', 'TLS down', 'TLS up') {
    my ($bare, $gate) = map { my $one = $got{$run}{$_}; { speed => $megabytes / median(@{ $one->[0] }), cpu => 1e5 * median(@{ $one->[1] }) / $megabytes } } qw(mod_proxy_connect gate);
    printf "| %s | %.0f (%.1f) | %.0f (%.1f) | %.2f | %.2f |\n", $run, $bare->{speed}, $bare->{cpu}, $gate->{speed}, $gate->{cpu}, $gate->{speed} / $bare->{speed}, $gate->{cpu} / $bare->{cpu};
}
$_->{httpd}->stop for @servers;
