# Every text that the C sources and the Perl parts may put into $@, die of, or hand to an error callback is in
# the manual's TROUBLESHOOTING. A text is any literal of several words; those that are something else are
# listed here.
use strict;
use warnings;

use Test::More;

my %NOT = map { $_ => 1 } (
    # said to peers
    'Decrypted data did not match', 'I do not encrypt', 'Unknown encryption module',
        'I do not encrypt with this module',
    'I do not compress', 'Unknown decompression module', 'I do not compress with this module',
    "I don't understand you",
    # of the protocol
    'EasyTCP direct', 'EasyTCP client', 'EasyTCP server', 'Net::EasyTCP SPAKE2 P-256 w',
    'T TLS %s 0 0', '%c %s %s %d %d', '%c %s %s',
    # warnings
    '%s names the unknown module \'%s\'', 'Unknown %s %s: is \'%s\' meant?',
    # a name that nobody sees
    'Net::EasyTCP::Attach $work',
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
    $text =~ s/\\(["'])/$1/g;
    return grep { /\w\w\w/ } map { my $part = $_; $part =~ s/\s+/ /g; $part =~ s/^ | $//g; $part }
        split /%(?:\.\*|l)*[a-z]|%%|[\$\@]\w+(?:->\{\w+\}|\[\d\])?|\\n|[()]/, $text;
}

# Several words.
sub is_text { return $_[0] =~ /[A-Za-z%]\S* \S*[A-Za-z]/ && $_[0] !~ /\A\s|\\r|::  / }

my %MACRO = map { slurp($_) =~ /^#define (\w+) "([^"\n]*)"$/mg } glob 'csrc/*/*.[ch]';

sub texts_of_c {
    my $source = shift;
    $source =~ s{/\*.*?\*/}{}gs;
    $source =~ s/^\s*#.*$//mg;
    $source =~ s/"\s*\n\s*"//g;              # literals in pieces
    $source =~ s/%"\s*SVf\s*"/%s/g;
    $source =~ s/%"\s*SVf\b/%s"/g;
    $source =~ s/"\s+([A-Z]\w+)(\s*")?/($MACRO{$1} || $1) . ($2 ? '' : '"')/ge;
    $source =~ s/%%s/%s/g;
    $source =~ s/etcp_storable_damaged\(r, "[^"]+"\)//g;    # become "... at byte N of a Storable image"
    return grep { is_text($_) } $source =~ /"((?:[^"\\\n]|\\.)*)"/g;
}

sub texts_of_perl {
    my $source = shift;
    $source =~ s/^__END__\n.*//ms;
    $source =~ s/^\s*#.*$//mg;
    $source =~ s/(?:require|use|package) .*?;//g;
    my @texts;
    push @texts, $1 eq '"' ? $2 : "$2" while $source =~ /(?<![\$\\\w])(["'])((?:(?!\1)[^\\\n]|\\.)*)\1/g;
    return grep { is_text($_) } @texts;
}

# What a file has in its section TROUBLESHOOTING.
sub section_of {
    my ($section) = slurp(shift) =~ /^=head1 TROUBLESHOOTING\n(.*?)^=head1 /ms or return '';
    $section =~ s/[A-Z]<([^<>]*)>/$1/g for 1 .. 2;
    $section =~ s/\s+/ /g;
    return $section;
}

my $section = section_of('lib/Net/EasyTCP.pm');
ok($section, 'there is a section TROUBLESHOOTING') or BAIL_OUT('no section');

my %seen;
sub explained {
    my ($file, @texts) = @_;
    my $own = $file =~ m{EasyTCP/} ? section_of($file) : '';
    foreach my $text (grep { !$NOT{$_} && !$seen{$_}++ } @texts) {
        my @missing = grep { index($section . $own, $_) < 0 } plain($text);
        is(join(' | ', @missing), '', "$file: $text");
    }
    return;
}

# What keys of Crypt::RSA look like is no text.
explained($_, texts_of_c(slurp($_))) foreach grep { !m{/rsa_key_} } glob('csrc/*/*.[ch]'), 'EasyTCP.xs';
my @perl = ('lib/Net/EasyTCP.pm', glob('lib/Net/EasyTCP/*.pm'));
explained($_, texts_of_perl(slurp($_))) foreach @perl;
my @codes = slurp('csrc/base/error.c') =~ /return "([^"]+)"/g;
ok(index($section, $_) >= 0, "csrc/base/error.c: $_") foreach @codes;
cmp_ok(scalar keys %seen, '>', 150, 'texts were found');

# Texts of all kinds are found.
$MACRO{NAME} = 'a name';
is_deeply([ texts_of_c('f("it has " NAME, NAME, "or " NAME ", too");') ],
    [ 'it has a name', 'or a name, too' ], 'with macros');
is_deeply([ texts_of_c(qq{f("low case"); /* "a comment" */\n}
            . qq{g("%s of\\n %d", "in "\n    "pieces", one("word"));}) ],
    [ 'low case', '%s of\n %d', 'in pieces' ], 'in C');
is_deeply([ texts_of_perl(qq{\$\@ = 'one text';\n# "a comment"\nf("that's another") if \$x eq 'word';\n}
            . qq{__END__\n"no code"\n}) ],
    [ 'one text', "that's another" ], 'in Perl');
done_testing();
