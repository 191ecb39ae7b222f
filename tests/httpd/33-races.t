# The stress of tests/ports/run, short: tunnels that end at their deadlines, descriptors that come and go beside them.
use strict;
use warnings;
use FindBin;
use Test::More;

if (($ENV{GATE_TEST_MPM} || 'event') ne 'event') {
    plan skip_all => 'with the event MPM only';
}
@ARGV = (300);
do "$FindBin::RealBin/../ports/stress.pl" or die $@ || $!;
