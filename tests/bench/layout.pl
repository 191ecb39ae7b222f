#!/usr/bin/env perl
# Behind tests/bench/layout: counts under callgrind which functions are called once a request or more, first
# with one token again and again, then with new tokens and refusals, and writes the linker's list of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../httpd/lib";
use File::Temp ();
use IO::Socket::INET;
use Time::HiRes qw(sleep time);
use Gate;

my ($out) = @ARGV;
my ($FEW, $MANY) = (20, 220);
my %ci = (issuer => 'ci', shape => 'gitlab', exp_in => 86_400);

# valgrind's httpd has no root to read it by.
my $shelf = File::Temp->newdir('gate-layout-XXXXXX', TMPDIR => 1);
chmod 0755, "$shelf";
system('cp', $ENV{GATE_MODULE}, "$shelf/mod_gitlab_gate.so") == 0 or die "no copy\n";
$ENV{GATE_MODULE} = "$shelf/mod_gitlab_gate.so";

# How often each of the module's functions is called where $ask is done so often.
sub calls {
    my ($ask, $requests) = @_;
    my $httpd = Gate::Httpd->new("GateAuditLog audit.log\n" . issuer_section('ci', 'GateKind gitlab', 'GateRole deployer project_path=shop/orders ref_protected=true')
            . gated('/', 'Require gate-role deployer'));
    my @as = $> == 0 ? qw(setpriv --reuid=www-data --regid=www-data --clear-groups) : ();
    system 'chown', '-R', 'www-data', $httpd->dir if $> == 0;
    my $counts  = $httpd->dir . '/callgrind';
    my $process = Gate::Process->start({ out => $httpd->dir . '/stderr.log' }, @as, qw(valgrind -q --tool=callgrind --compress-strings=no --demangle=no),
        "--callgrind-out-file=$counts", $httpd->command('-X'));
    my $until = time + 60;
    sleep 0.2 until IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $httpd->port, Timeout => 1) || time > $until || !$process->alive;
    $ask->($httpd, $_) for 1 .. $requests;
    $process->stop;
    my (%calls, $object, $callee_object, $callee);
    for (split /\n/, Gate::Httpd::slurp($counts)) {
        if    (/^ob=(.*)/)  { $object = $callee_object = $1 }
        elsif (/^cob=(.*)/) { $callee_object = $1 }
        elsif (/^cfn=(.*)/) { $callee = $1 =~ s/'\d+$//r }
        elsif (/^calls=(\d+)/) {
            my $count = $1;
            $calls{$callee} += $count if $callee_object =~ /gitlab_gate/;
            $callee_object = $object;
        }
    }
    return \%calls;
}

# Those that come with a request, not with the start.
sub functions {
    my ($ask) = @_;
    my ($few, $many) = map { calls($ask, $_) } $FEW, $MANY;
    my @often = grep { $many->{$_} - ($few->{$_} || 0) > ($MANY - $FEW) / 3 } keys %$many;
    die "callgrind has counted no function of the module's\n" if !@often;
    return @often;
}

# A name without what differs from one compiler to the next.
sub pattern {
    my ($name) = @_;
    $name =~ s/\.llvm\.\d+$/*/;
    $name =~ s/17h[0-9a-f]{16}E/17h*/;
    $name =~ s/Cs[0-9A-Za-z]+_/Cs*_/g;
    return ".text." . $name =~ s/[^A-Za-z0-9_.*]/?/gr =~ s/\*+/*/gr;
}

my $hot = mint(%ci);
my @known = functions(sub { my ($httpd) = @_; $httpd->get('/', token => $hot)->status == 200 or die "a known token was refused\n" });
my @new = functions(sub {
    my ($httpd, $turn) = @_;
    my @token = (%ci, claims => { jti => "layout-$turn" }, alg => $turn % 2 ? 'ES256' : 'RS256');
    $httpd->get('/', token => mint(@token))->status == 200 or die "a new token was refused\n";
    $httpd->get('/', token => mint(@token, mutate => 'flip_sig'))->status == 401 or die "a forged token passed\n";
});
my %known = map { pattern($_) => 1 } @known;
my %new = map { pattern($_) => 1 } @new;
delete @new{ keys %known };
sub lines { return join "\n", map { "    $_" } sort @_ }

Gate::Httpd::spew($out, <<"END");
/* Where the linker puts what a request runs through: first in .text, side by side, on few pages. Strewn over the module's
 * five megabytes it cost more time than its instructions (docs/bench.md). Made by tests/bench/layout; a name that is
 * there no more does no harm. apxs/build puts this into the linker's own script. */

/* every request */
*(
@{[ lines(keys %known) ]}
)

/* a token that is new, or refused */
*(
@{[ lines(keys %new) ]}
)
END
printf "%s: %d functions of every request, %d more of a new token\n", $out, scalar keys %known, scalar keys %new;
