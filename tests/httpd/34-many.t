# Many ports at once on one httpd: all of them live, ordinary requests are served beside them, one more is refused, and
# what is closed is free again. 200 with event; fewer with prefork, where each costs a process.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Load;
use Gate::Port;
use Time::HiRes qw(sleep time);

my $prefork = Gate::Httpd::mpm() eq 'prefork';
my $MOST    = $prefork ? 24 : 200;
my $workers = $prefork ? 48 : 448;
my $target  = target('127.0.0.1:0');

sub port { return join "\n", "<GatePort $_[0]>", "GateTarget $target", 'AuthType Gate', 'Require gate-role deployer', 'GateMaxOpen 1000', @_[ 1 .. $#_ ], '</GatePort>', '' }
my $head = $prefork
    ? "ServerLimit $workers\nMaxRequestWorkers $workers\nStartServers 36\nMinSpareServers 4\nMaxSpareServers $workers"
    : "ThreadLimit 64\nThreadsPerChild 64\nStartServers 7\nMaxRequestWorkers $workers\nMinSpareThreads 8\nMaxSpareThreads $workers";
my $config = issuer_section('ci', 'GateKind gitlab', 'GateRole deployer project_path=shop/orders') . port('db:1')
    . gated('/', 'Require gate-role deployer') . "<Location /status>\nSetHandler gate-status\nAuthType None\nRequire all granted\n</Location>\n";
my $httpd = httpd("GateMaxOpenTotal $MOST\n$config", head => $head);
my $port  = $httpd->port;
my $token = mint(issuer => 'ci', shape => 'gitlab');

sub metrics { return $httpd->get('/status?metrics')->body }
my $asked = 0;
my $load = Gate::Load->start(clients => 2,
    ask  => sub { return $httpd->get('/' . $_[0] . '-' . ++$asked, token => $token) },
    good => sub { $_[0]->status == 200 && ($_[0]->target // '') =~ m{^/\d-$asked$} });

my (@open, $answer);
for (1 .. $MOST) {
    my ($a, $one) = tunnel($port, 'db:1', $token);
    last if $a->status != 200;
    push @open, $one;
}
is(scalar @open, $MOST, "$MOST ports are open");
sub all_echo {
    my ($word) = @_;
    $open[$_]->say("$word $_\n") for 0 .. $#open;
    return scalar grep { $open[$_]->read(length "$word $_\n") eq "$word $_\n" } 0 .. $#open;
}
$_->say("echo\n") for @open;
is(all_echo('first'), $MOST, 'each echoes its own');
($answer) = tunnel($port, 'db:1', $token);
refused($answer, 503, 'port_limit', 'one more is refused');
like(metrics(), qr/^gitlab_gate_ports_open\{port="db:1"\} $MOST$/m, 'the metrics say how many');
is(all_echo('second'), $MOST, 'they go on');
my ($requests, @bad) = $load->stop;
is(join("\n", @bad), '', "$requests ordinary requests beside them were served");
cmp_ok($requests, '>', 10, 'there were some');
$_->close for @open;
my $until = time + 15;
do { sleep 0.1; ($answer) = tunnel($port, 'db:1', $token); CORE::close $answer->{socket} } while $answer->status != 200 && time < $until;
is($answer->status, 200, 'what was closed is free again');
like(metrics(), qr/^gitlab_gate_ports_open\{port="db:1"\} \d$/m, 'and counted no more') if sleep 1.5;
$httpd->stop;

# Where nothing is said, half of the workers.
@open = ();
$httpd = httpd($config, head => $prefork ? "ServerLimit 8\nMaxRequestWorkers 8\nStartServers 8" : "ThreadLimit 8\nThreadsPerChild 8\nServerLimit 1\nStartServers 1\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 8");
for (1 .. 5) { (my $one, my $tunnel) = tunnel($httpd->port, 'db:1', $token); push @open, $one; }
is(join(' ', map { $_->status } @open), '200 200 200 200 503', 'by default half of the workers may be in ports');
is($httpd->get('/x', token => $token)->status, 200, 'so that others are served');

expect_in_log(qr{GATE235: SetHandler gate-status in /status}, qr/AH0004[567]|AH10159|AH00484/);
finish();
