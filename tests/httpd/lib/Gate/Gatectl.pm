package Gate::Gatectl;

# gatectl, which lies beside the module: where it is, and what it says.

use strict;
use warnings;
use Exporter 'import';
use File::Temp ();

our @EXPORT = qw($gatectl gatectl);
our $gatectl = $ENV{GATE_GATECTL} || ($ENV{GATE_MODULE} // '') =~ s{[^/]*$}{gatectl}r;

# (exit status, output) of gatectl with these words, and with this text for it to read.
sub gatectl {
    my ($text, @words) = @_;
    my $in = File::Temp->new;
    print {$in} $text // '';
    close $in or die $!;
    my $out = `$gatectl @{[ map { quotemeta } @words ]} < $in 2>&1`;
    return ($? >> 8, $out);
}

1;
