# A graceful restart leaves every port open: many busy ones, again and again, since what once closed some of them was a
# signal that a leaving child sends to itself, and that only a thread which looked just then could see.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Port;
use Gate::Watched;
use Time::HiRes qw(sleep);

my ($AT_ONCE, $TIMES) = (12, 8);

my $target = target('127.0.0.1:0');
my $httpd = httpd(<<"CONF", head => "ThreadLimit 64\nThreadsPerChild 64\nMaxRequestWorkers 256\nStartServers 1");
@{[ issuer_section('ci', 'GateKind gitlab', 'GateRole deployer project_path=shop/orders') ]}
GateMaxOpenTotal 64
<GatePort db:1>
    GateTarget $target
    AuthType Gate
    Require gate-role deployer
    GateMaxOpen 64
</GatePort>
CONF
my $token = mint(issuer => 'ci', shape => 'gitlab', exp_in => 600);

for my $time (1 .. $TIMES) {
    my @open = map { Gate::Watched->open(port => $httpd->port, name => 'db:1', token => $token, does => 'read') } 1 .. $AT_ONCE;
    is(scalar(grep { ($_->{status} // 0) == 200 } @open), $AT_ONCE, "restart $time: $AT_ONCE ports are open");
    $_->go for @open;
    sleep 0.4;
    ok($httpd->restart('USR1'), 'it restarts');
    sleep 0.8;
    is(scalar(() = $httpd->error_log =~ /GATE702: .* closed: stopping/g), 0, 'and no port was closed');
    for my $one (@open) { kill KILL => $one->{pid}; waitpid $one->{pid}, 0 }
    last if !Test::More->builder->is_passing;
}

finish();
