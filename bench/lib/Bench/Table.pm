package Bench::Table;

# Results as a table in Markdown.

use strict;
use warnings;

use Bench::Results;

sub markdown {
    my ($results, $workloads, $contestants) = @_;
    my @rows = (
        [ 'workload', '', 'result', 'ratio', 'server CPU each, us', 'ratio', 'peak memory, MiB' ],
        [ '---', '---', '---:', '---:', '---:', '---:', '---:' ],
    );
    for my $workload (@$workloads) {
        my $title = "$workload->{title}, $workload->{unit}";
        for my $contestant (@$contestants) {
            my @cells = _cells($results, $workload, $contestant->{name});
            push @rows, [ $title, $contestant->{title}, @cells ];
            $title = '';
        }
    }
    return join '', map { '| ' . join(' | ', @$_) . " |\n" } @rows;
}

sub _cells {
    my ($results, $workload, $contestant) = @_;
    my @of   = ($workload->{name}, $contestant);
    my $rate = $results->value(@of, 'rate');
    return ($results->error(@of), ('') x 4) if !defined $rate;
    my ($cpu, $peak) = map { $results->value(@of, $_) } qw(cpu peak);
    return map { Bench::Results::number($_) } (
        $rate * $workload->{scale},
        $results->ratio(@of, 'rate'),
        defined $cpu ? 1e6 * $cpu : undef,
        $results->ratio(@of, 'cpu'),
        defined $peak ? $peak / 1024 : undef,
    );
}

1;
