# Every variable of the environment that a file of the tree reads is in a table of README or CONTRIBUTING, and
# what is in a table is read by the file that is named beside it.
use strict;
use warnings;

use Test::More;

my $NAME = qr/\b(?:NET_)?EASYTCP_[A-Z][A-Z_]*[A-Z]\b(?!_)/;

sub slurp {
    my $file = shift;
    open my $fh, '<', $file or die "$file: $!";
    local $/ = undef;
    return scalar <$fh>;
}

my (%documented, %reader);
foreach my $row ("README.md", "CONTRIBUTING.md") {
    foreach my $line (slurp($row) =~ /^(\| `\w+(?:=1)?`.*)$/mg) {
        my @cells = split /\s*\|\s*/, $line;
        my @names = $cells[1] =~ /$NAME/g;
        $documented{$_} = $row foreach @names;
        next if $row eq 'README.md';
        $reader{$_} = [ $cells[3] =~ /`([^`]+)`/g ] foreach @names;
    }
}

my %used;
my @files = grep { -f && -T && !/\.md$/ } (map { /^(\S+)/ } split /\n/, slurp('MANIFEST')), glob('.ci/*');
foreach my $file (@files) {
    $used{$_}{$file} = 1 foreach slurp($file) =~ /$NAME/g;
}
cmp_ok(scalar keys %used, '>', 20, 'variables were found');
ok($documented{$_}, "$_ is in a table") || diag(join ' ', sort keys %{ $used{$_} }) foreach sort keys %used;
foreach my $name (sort keys %reader) {
    my @wrong = grep {
        my $place = $_;
        $place =~ s/\*.*//;
        !grep { index($_, $place) == 0 } keys %{ $used{$name} || {} };
    }
        @{ $reader{$name} };
    is("@wrong", '', "$name is read where its row says");
}
done_testing();
