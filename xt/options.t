# Every option that new() knows is in the table at the top of its description, and has a description of its
# own.
use strict;
use warnings;

use Test::More;

sub slurp {
    my $file = shift;
    open my $fh, '<', $file or die "$file: $!";
    local $/ = undef;
    return scalar <$fh>;
}

my $source = slurp('csrc/perl/options.c');
my ($table) = $source =~ /^static const option option_table\[\] = \{\n(.*?)^\};/ms;
my %known = map { $_ => 1 } $table =~ /\{"([a-z]\w*)"/g;
my $pod = slurp('lib/Net/EasyTCP.pm');
# Those that Perl reads: in new, and in what it calls.
$known{$_} = 1 for $pod =~ /\$args->\{([a-z]\w*)\}/g, $pod =~ /\$args\{([a-z]\w*)\}/g;
cmp_ok(scalar keys %known, '>', 30, 'options were found');

my ($new) = $pod =~ /^=head2 new\n(.*?)^=head1 /ms;
my %row  = map { $_ => 1 } map { split /, / } $new =~ /^    ([a-z]+(?:, [a-z]+)?) +[SC]  ?[SC ]/mg;
my %item = map { $_ => 1 } map { split /, / } $new =~ /^=item ([a-z]+(?:, [a-z]+)*)$/mg;
is_deeply([ grep { !$row{$_} } sort keys %known ],  [], 'all are in the table');
is_deeply([ grep { !$item{$_} } sort keys %known ], [], 'all are described');
is_deeply([ grep { !$row{$_} } sort keys %item ],   [], 'and all that are described are in the table');

# Each has one row, which says for which ends it is; the lists below the table say the same.
my %ends;
foreach my $line ($new =~ /^    ([a-z]+(?:, [a-z]+)? +(?:S C|S  |  C) .*)$/mg) {
    my ($names, $for) = $line =~ /^(\S+(?:, \S+)?) +(S C|S  |  C) /;
    ok(!$ends{$_}, "$_ has one row") foreach split /, /, $names;
    (my $compact = $for) =~ s/ //g;
    $ends{$_} = $compact foreach split /, /, $names;
}
my %part = (both => 'SC', 'a client' => 'C', 'a server' => 'S');
my %listed;
foreach my $name (sort keys %part) {
    my ($list) = $new =~ /^Options for $name:\n(.*?)^=back/ms;
    $listed{$_} = join '', sort { $b cmp $a } split(//, $part{$name}), split(//, $listed{$_} || '')
        foreach map { split /, / } $list =~ /^=item (.*)$/mg;
}
is_deeply(\%listed, \%ends, 'the lists are for the ends that the table says');

# The table of the C source reads each for the same ends.
my %read;
$read{$1} |= { SERVER => 1, CLIENT => 2,
    BOTH => 3 }->{$2} while $table =~ /\{"([a-z]\w*)", \w+, ETCP_FOR_(\w+)/g;
my %bits = (S => 1, C => 2, SC => 3);
is_deeply([ grep { $bits{ $ends{$_} } != $read{$_} } sort keys %read ], [], 'as do the sources');
done_testing();
