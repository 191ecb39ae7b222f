# What a request runs through lies side by side in the module (apxs/layout.ld). A change of the compiler's names would
# strew it again, and nothing but the cost would show it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;

plan skip_all => 'the linker is not GNU' if `ld -v 2>&1` !~ /GNU ld/;
my %at = map { /^([0-9a-f]+) \S (\S+)/ ? ($2 => hex $1) : () } `nm $ENV{GATE_MODULE}`;
my %size = (the_list => 400_000, of_every_request => 120_000);
my %parts = (
    of_every_request => [ qr/^shim_access$/, qr/^shim_log_transaction$/, qr/^gate_decide$/, qr/^gate_rule_holds$/, qr/11gitlab_gate5cache.*5Cache3get/, qr/11gitlab_gate4gate.*7Process8identify/, qr/11gitlab_gate5audit4line.*5Frame8decision/ ],
    the_list         => [ qr/^shim_access$/, qr/11gitlab_gate6verify6verify/, qr/11gitlab_gate5token7compact.*10Unverified5parse/ ],
);
for my $part (sort keys %parts) {
    my @places;
    for my $name (@{ $parts{$part} }) {
        my ($found) = sort { length $a <=> length $b } grep { $_ =~ $name } keys %at;
        ok(defined $found, "the module has $name") or next;
        push @places, $at{$found};
    }
    my ($first, $last) = (sort { $a <=> $b } @places)[ 0, -1 ];
    cmp_ok($last - $first, '<', $size{$part}, "$part: side by side (else: tests/bench/layout)");
}
finish();
