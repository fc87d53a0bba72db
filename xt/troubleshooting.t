# Every text that the C sources and the Perl parts may put into $@ is in the manual's TROUBLESHOOTING.
use strict;
use warnings;

use Test::More;

# What looks like a text and never is in $@.
my %NOT = map { $_ => 1 } (
    'Decrypted data did not match', 'I do not encrypt', 'Unknown encryption module',       # said to peers
    'I do not encrypt with this module', 'I do not compress', 'Unknown decompression module',
    'I do not compress with this module', "I don't understand you",
);

sub slurp {
    my $file = shift;
    open my $fh, '<', $file or die "$file: $!";
    local $/ = undef;
    return scalar <$fh>;
}

# A text without what differs from case to case.
sub plain {
    my $text = shift;
    $text =~ s/\\"/"/g;
    return grep { /\w\w\w/ } map { my $part = $_; $part =~ s/\s+/ /g; $part =~ s/^ | $//g; $part }
        split /%(?:\.\*|l)*[a-z]|%%|[\$\@]\w+(?:->\{\w+\}|\[\d\])?|\\n|[()]/, $text;
}

sub texts_of_c {
    my $source = shift;
    $source =~ s{/\*.*?\*/}{}gs;
    $source =~ s/^\s*#.*$//mg;
    $source =~ s/"\s*\n\s*"//g;              # literals in pieces
    $source =~ s/%"\s*SVf\s*"/%s/g;
    $source =~ s/%"\s*SVf\b/%s"/g;
    $source =~ s/%%s/%s/g;
    my @texts = $source =~ /"((?:[A-Z%][^"\\]*(?:\\.[^"\\]*)*))"/g;
    return grep { /[a-z]{2} \w|[a-z]\w+: / } @texts;
}

my ($section) = slurp('lib/Net/EasyTCP.pm') =~ /^=head1 TROUBLESHOOTING\n(.*?)^=head1 /ms;
ok($section, 'there is a section TROUBLESHOOTING') or BAIL_OUT('no section');
$section =~ s/[A-Z]<([^<>]*)>/$1/g for 1 .. 2;
$section =~ s/\s+/ /g;

my %seen;
foreach my $file (glob('csrc/*/*.c'), 'EasyTCP.xs') {
    next if $file =~ m{csrc/(?:codec|base/(?!error))};
    foreach my $text (texts_of_c(slurp($file))) {
        next if $NOT{$text} || $seen{$text}++;
        my @missing = grep { index($section, $_) < 0 } plain($text);
        is(join(' | ', @missing), '', "$file: $text");
    }
}
my @codes = slurp('csrc/base/error.c') =~ /return "([^"]+)"/g;
ok(index($section, $_) >= 0, "csrc/base/error.c: $_") foreach @codes;
foreach my $file ('lib/Net/EasyTCP.pm', 'lib/Net/EasyTCP/Attach.pm') {
    my ($code) = slurp($file) =~ /\A(.*?)^__END__$/ms ? $1 : slurp($file);
    foreach my $text ($code =~ /(?:\$\@ = |die |_fail\()(["'][^;]*?["'])[;\n )]/g) {
        $text =~ s/^.|.$//g;
        my @missing = grep { index($section, $_) < 0 } plain($text);
        is(join(' | ', @missing), '', "$file: $text");
    }
}
cmp_ok(scalar keys %seen, '>', 80, 'texts were found');
done_testing();
