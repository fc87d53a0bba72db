# Comments cite sections of Protocol.pod by title: the titles must be there.

use strict;
use warnings;

use Test::More;

my %title;
open my $pod, '<', 'lib/Net/EasyTCP/Protocol.pod' or die "Cannot read Protocol.pod: $!";
while (<$pod>) {
    $title{$1} = 1 if /^=(?:head\d|item)\s+(.*\S)/;
}

my $cited = 0;
for my $file (sort 'EasyTCP.xs', glob('csrc/*/*.[ch] t/c/*.[ch] fuzz/*.c t/*.t t/lib/*')) {
    open my $fh, '<', $file or die "Cannot read $file: $!";
    my $text = do { local $/ = undef; <$fh> };
    $text =~ s{\n\s*(?:\*|\#|//)?\s*}{ }g;
    while ($text =~ /Protocol\.pod,? ((?:"[^"]+"(?:, | and )?)+)/g) {
        for my $section ($1 =~ /"([^"]+)"/g) {
            $cited++;
            ok($title{$section}, "$file cites \"$section\"");
        }
    }
}
cmp_ok($cited, '>', 5, "$cited citations were found");
done_testing();
