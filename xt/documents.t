# The documents are complete and easy to edit: the cookbook lists every example, README every document, and no
# line of them, nor of the examples, is longer than 110 characters, tables and links of Markdown excepted.
use strict;
use warnings;

use Test::More;

my $LONGEST = 110;

sub slurp {
    my $file = shift;
    open my $fh, '<:encoding(UTF-8)', $file or die "$file: $!";
    local $/ = undef;
    return scalar <$fh>;
}

my ($recipes) = slurp('lib/Net/EasyTCP/Cookbook.pod') =~ /^=head1 RECIPES\n(.*?)^=head2 /ms;
my %listed = map { $_ => 1 } map { split /, | and / } $recipes =~ /  (\S[^\n]*)$/mg;
foreach my $example (glob 'examples/*') {
    my ($name) = $example =~ m{([^/]+)\z};
    $name .= '/' if -d $example;
    ok((grep { s/^.*  //; $_ eq $name } (my @copy = keys %listed)) > 0, "the cookbook lists $name");
}
my $readme = slurp('README.md');
ok(index($readme, "`$_`") > 0, "README names $_") foreach 'lib/Net/EasyTCP.pm', glob 'lib/Net/EasyTCP/*.pod';

foreach my $file (glob('*.md'), 'Changes', glob('lib/Net/*.pm'), glob('lib/Net/EasyTCP/*.p*'),
    glob('examples/*.pl')) {
    my @long = grep { length > $LONGEST && !/^\||\]\(/ } split /\n/, slurp($file);
    is(scalar @long, 0, "$file: no line over $LONGEST characters") or diag map { "- $_\n" } @long;
}
done_testing();
