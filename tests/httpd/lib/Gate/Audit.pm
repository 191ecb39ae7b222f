package Gate::Audit;

# The audit log of a Gate::Httpd, and what Elastic Common Schema says of its lines.

use strict;
use warnings;
use File::Basename qw(dirname);
use JSON ();
use Time::HiRes qw(sleep time);

my $data = dirname(__FILE__) . '/../../../support/ecs';

sub rows { my ($file) = @_; open my $in, '<', "$data/$file" or die "$file: $!"; return map { chomp; [ split /\t/, $_, -1 ] } grep { !/^#/ } <$in> }

my %field = map { $_->[0] => $_ } rows('ecs_fields.tsv');
my %types = map { $_->[0] => { map { $_ => 1 } split /,/, $_->[1] } } rows('ecs_category_types.tsv');

sub text { my ($file) = @_; open my $in, '<', $file or return ''; local $/; return <$in> // '' }

# The lines as they are, and decoded.
sub raw   { return grep { length } split /\n/, text($_[0]) }
sub lines { return map { JSON->new->utf8->decode($_) } raw($_[0]) }

# The lines of an action, once there are so many of them.
sub wait_for {
    my ($file, $count, $wanted, $seconds) = @_;
    my $until = time + ($seconds || 10);
    my @found;
    while (1) {
        @found = grep { $wanted->($_) } lines($file);
        return @found if @found >= $count || time > $until;
        sleep 0.05;
    }
}
sub decisions { my ($file, $count) = @_; return wait_for($file, $count, sub { $_[0]{event}{action} eq 'access' }) }

# What is wrong with a line by the schema's own list of fields; nothing is ''.
sub wrong {
    my ($line) = @_;
    my @wrong = map { "$_ is missing" } grep { !exists $line->{$_} } qw(@timestamp ecs event);
    walk($line, '', \@wrong);
    my $event = $line->{event} || {};
    for my $type (@{ $event->{type} || [] }) {
        push @wrong, "type $type in category @{ $event->{category} || [] }" if grep { !$types{$_}{$type} } @{ $event->{category} || [] };
    }
    return join '; ', @wrong;
}

# The same of every line of a log, each with what is wrong.
sub all_wrong {
    my ($file) = @_;
    my @found;
    for my $raw (raw($file)) {
        my $line  = eval { JSON->new->utf8->decode($raw) };
        my $wrong = $line ? wrong($line) : 'no JSON';
        push @found, "$wrong: $raw" if length $wrong;
    }
    return @found;
}

sub walk {
    my ($value, $path, $wrong) = @_;
    return if $path eq 'gitlab_gate';    # our own, which the schema leaves room for
    if (ref $value eq 'HASH' && !$field{$path}) {
        walk($value->{$_}, $path eq '' ? $_ : "$path.$_", $wrong) for sort keys %$value;
        return;
    }
    my $row = $field{$path} or return push @$wrong, "$path is no field";
    my (undef, $type, $shape, $allowed) = @$row;
    return push @$wrong, "$path is " . ($shape eq 'array' ? 'no array' : 'an array') if ($shape eq 'array') != (ref $value eq 'ARRAY');
    for my $item (ref $value eq 'ARRAY' ? @$value : $value) {
        my $good = !ref $item && defined $item && (
            $type eq 'long' ? JSON->new->allow_nonref->encode($item) =~ /^-?\d+$/
          : $type eq 'ip'   ? $item =~ /^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f:]*:[0-9a-f:.]*)$/i
          : $type eq 'date' ? $item =~ /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/
          :                   1);
        push @$wrong, "$path is no $type" if !$good;
        push @$wrong, "$path may not be $item" if $allowed && !grep { $_ eq $item } split /,/, $allowed;
    }
    return;
}

1;
