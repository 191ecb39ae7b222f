# The soak (tests/soak/run) for one turn of its events: keys that change, outages, restarts, all refusals, under load.
use strict;
use warnings;
use FindBin;
use Test::More;

if (($ENV{GATE_TEST_MPM} || 'event') ne 'event' || !$ENV{GATE_LOAD}) {
    plan skip_all => 'with the event MPM, and GATE_LOAD, only';
}
@ARGV = (1);
do "$FindBin::RealBin/../soak/soak.pl" or die $@ || $!;
