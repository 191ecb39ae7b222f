#!/usr/bin/env perl
# The stress behind tests/ports/run, and a small one in tests/httpd/33-races.t. Each tunnel echoes numbered lines of
# its own, and ends by one of: GateLifetime, the token's exp, its client, its target, all at about the same moment.
use strict;
use warnings;
use FindBin;
use lib map { "$FindBin::RealBin/$_" } 'lib', '../httpd/lib';
use File::Temp ();
use Gate;
use Gate::Load;
use Gate::Port;
use IO::Select;
use Time::HiRes qw(sleep time);

my ($count) = (@ARGV, 10_000);
my $AT_ONCE = 80;

my $prefork = Gate::Httpd::mpm() eq 'prefork';
my $target = target('127.0.0.1:0');
my $dir = File::Temp->newdir('gate-stress-XXXXXX', TMPDIR => 1);
chmod 0777, $dir;
system('cc', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-o', "$dir/closes.so", "$FindBin::RealBin/" . (-e "$FindBin::RealBin/closes.c" ? '' : '../ports/') . 'closes.c', '-ldl') == 0 or die 'cc';
my $httpd = do {
    local @ENV{qw(LD_PRELOAD CLOSES_LOG)} = ("$dir/closes.so", "$dir/closes.log");
    httpd(<<"END", head => $prefork ? "ServerLimit 128\nMaxRequestWorkers 128\nStartServers 100\nMaxSpareServers 128" : "ThreadLimit 64\nThreadsPerChild 64\nStartServers 2\nMaxRequestWorkers 128\nMinSpareThreads 16\nMaxSpareThreads 128");
@{[ issuer_section('ci', 'GateKind gitlab', 'GateClockSkew 0', 'GateRole deployer project_path=shop/orders') ]}
GateMaxOpenTotal @{[ $AT_ONCE + 20 ]}
<GatePort short:1>
    GateTarget $target
    AuthType Gate
    Require gate-role deployer
    GateLifetime 1s
    GateMaxOpen 200
</GatePort>
<GatePort db:1>
    GateTarget $target
    AuthType Gate
    Require gate-role deployer
    GateMaxOpen 200
</GatePort>
@{[ gated('/', 'Require gate-role deployer') ]}
END
};

sub children { my ($pid) = $httpd->{process}->pid; return split ' ', Gate::Httpd::slurp("/proc/$pid/task/$pid/children") }
# Descriptors that the children have open, but for the log's and the pipes' that come and go.
sub descriptors { my %open = map { my $pid = $_; ($pid => scalar grep { (readlink($_) // '') =~ /^socket/ } glob "/proc/$pid/fd/*") } children(); return \%open }

my $token = mint(issuer => 'ci', shape => 'gitlab', exp_in => 86_400);
my $long  = $token;
passes($httpd->get("/warm$_", token => $long), 'it serves') for 1 .. 2;
my $before = descriptors();

# Ordinary requests all the while, whose descriptors come and go between the tunnels': each wants its own answer.
my $asked = 0;
my $load = Gate::Load->start(clients => 2,
    ask  => sub { my ($client) = @_; $asked++; my $answer = $httpd->get("/$client-$asked", token => $long); $answer->{wanted} = "/$client-$asked"; return $answer },
    good => sub { $_[0]->status == 200 && ($_[0]->target // '') eq $_[0]{wanted} });

# --- the tunnels, all from one loop
my (%open, %ended, @wrong);
my ($started, $refused, $brief, $brief_until) = (0, 0, undef, 0);
my $select = IO::Select->new;

sub begin {
    my $number = $started++;
    my $by_exp = $number % 3 == 0;
    if ($by_exp && time > $brief_until) {
        ($brief, $brief_until) = (mint(issuer => 'ci', shape => 'gitlab', exp_in => 3), time + 1.2);
    }
    my ($answer, $tunnel) = tunnel($httpd->port, $by_exp ? 'db:1' : 'short:1', $by_exp ? $brief : $token);
    if ($answer->status != 200) {
        # The token may have ended on the way.
        $refused++;
        push @wrong, 'refused: ' . $answer->as_string if !$by_exp || ($answer->header('X-Gate-Reason') // '') ne 'expired';
        return;
    }
    # About the deadline, from before to after it.
    my $due = $by_exp ? $answer->header('Gate-Expires') + 0.02 : time + 1;
    my $socket = $tunnel->{socket};
    $socket->blocking(0);
    $open{$socket} = { socket => $socket, number => $number, sent => '', got => '', next => 0, does => [qw(close half stay say)]->[ $number % 4 ], at => $due - 0.3 + rand 0.5, until => $due + 8 };
    $select->add($socket);
    local $SIG{PIPE} = 'IGNORE';
    syswrite $socket, "echo\n";
    return;
}

sub say_line {
    my ($one, $text) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $done = syswrite $one->{socket}, $text;
    $one->{sent} .= substr $text, 0, $done // 0;
    return;
}

sub over {
    my ($one, $how) = @_;
    $select->remove($one->{socket});
    delete $open{ $one->{socket} };
    close $one->{socket};
    $ended{$how}++;
    push @wrong, "tunnel $one->{number} got what is not its own: " . substr($one->{got}, 0, 200) if index($one->{sent}, $one->{got}) != 0;
    return;
}

my $begun = time;
while ($started < $count || %open) {
    begin() for 1 .. ($started < $count && keys %open < $AT_ONCE ? 4 : 0);
    for my $socket ($select->can_read(0.01)) {
        my $one = $open{$socket} or next;
        my $got = sysread $socket, $one->{got}, 65536, length $one->{got};
        over($one, 'cut') unless $got || (!defined $got && $!{EAGAIN});
    }
    my $now = time;
    for my $one (values %open) {
        if ($now > $one->{until}) { push @wrong, "tunnel $one->{number} never ended"; over($one, 'never') }
        elsif ($now > $one->{at}) {
            $one->{at} = $now + ($one->{does} eq 'say' ? 0.02 : 1000);
            if    ($one->{does} eq 'close') { over($one, 'closed') }
            elsif ($one->{does} eq 'half')  { shutdown $one->{socket}, 1; $one->{next} = $now + 1000 }
            elsif ($one->{does} eq 'say')   { say_line($one, "late $one->{number}\n") }
        } elsif ($one->{next} < $now) {
            say_line($one, "$one->{number} at $now\n");
            $one->{next} = $now + 0.1;
        }
    }
}
my $took = time - $begun;
my ($requests, @bad) = $load->stop;

is(join("\n", @wrong[ 0 .. ($#wrong > 4 ? 4 : $#wrong) ]), '', "$count tunnels: each got its own bytes, and ended");
is(join("\n", @bad[ 0 .. ($#bad > 4 ? 4 : $#bad) ]), '', "$requests requests beside them: each got its own answer");
note(sprintf '%.0f s; %s; refused because the token had just ended: %d', $took, join(', ', map { "$ended{$_} $_" } sort keys %ended), $refused);
cmp_ok($requests, '>', 10, 'they were asked');

# Each opening has one close, with the reasons that were meant.
my $open_lines = () = $httpd->error_log =~ /GATE701/g;
my $until = time + 10;
sleep 0.1 while time < $until && (() = $httpd->error_log =~ /GATE702/g) < $open_lines;
my (%closed, %reasons);
for my $line ($httpd->error_log =~ /GATE702: (.*)/g) {
    my ($reason, $id) = $line =~ /closed: (\w+) .* request=(\S+)/;
    $closed{$id}++;
    $reasons{$reason}++;
}
is($open_lines, $count - $refused, 'each opening is written down');
is(scalar(keys %closed), $open_lines, 'and each close');
is(scalar(grep { $_ > 1 } values %closed), 0, 'once');
note(join ', ', map { "$reasons{$_} $_" } sort keys %reasons);
ok(($reasons{lifetime} && $reasons{expired} && $reasons{client}), 'they raced: lifetime, exp and clients have all won some');

# Nothing is left open, once httpd has closed what lingered; mod_proxy keeps some connections of its own.
my @left;
$until = time + 15;
do {
    sleep 0.2;
    my $after = descriptors();
    @left = map { "child $_: $before->{$_} sockets before, $after->{$_} after" } grep { defined $after->{$_} && $after->{$_} > $before->{$_} + 8 } keys %$before;
} while @left && time < $until;
is(join("\n", @left), '', 'no child keeps sockets');
is(Gate::Httpd::slurp("$dir/closes.log"), '', 'no descriptor was closed twice, or used when it was not open');

expect_in_log(qr/AH0004[567]/);
finish();
