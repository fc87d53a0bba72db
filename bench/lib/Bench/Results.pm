package Bench::Results;

# Collects what was measured: result{workload}{contestant} is a list with one entry for each round.
# Ratios are taken within a round, where both sides met the same machine, and then their median.

use strict;
use warnings;

sub new {
    my ($class, $reference) = @_;
    return bless { reference => $reference, results => {} }, $class;
}

sub add {
    my ($self, $workload, $contestant, $result) = @_;
    push @{ $self->{results}{$workload}{$contestant} }, $result;
}

sub median {
    my @sorted = sort { $a <=> $b } grep { defined } @_;
    return undef if !@sorted;
    return ($sorted[ $#sorted / 2 ] + $sorted[ @sorted / 2 ]) / 2;
}

# The median of a field, undef if it was never measured.
sub value {
    my ($self, $workload, $contestant, $field) = @_;
    return median(map { $_->{$field} } @{ $self->{results}{$workload}{$contestant} });
}

# How many times as much of the field as the reference has.
sub ratio {
    my ($self, $workload, $contestant, $field) = @_;
    my ($ours, $theirs) = @{ $self->{results}{$workload} }{ $contestant, $self->{reference} };
    return undef if !$ours || !$theirs;
    my @rounds = grep { $ours->[$_]{$field} && $theirs->[$_]{$field} } 0 .. $#$ours;
    return median(map { $ours->[$_]{$field} / $theirs->[$_]{$field} } @rounds);
}

sub error {
    my ($self, $workload, $contestant) = @_;
    my @errors = map { $_->{error} } @{ $self->{results}{$workload}{$contestant} };
    return (grep { defined } @errors)[0];
}

# A number with three digits that matter, thousands apart.
sub number {
    my $value = shift;
    return '' if !defined $value;
    my $format = $value >= 100 ? '%.0f' : $value >= 10 ? '%.1f' : $value >= 0.1 ? '%.2f' : '%.2g';
    my $text   = sprintf $format, $value;
    1 while $text =~ s/^(\d+)(\d{3})/$1,$2/;
    return $text;
}

1;
