# Every option that new() knows is in the table at the top of its description, and has a description of its own.
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
done_testing();
