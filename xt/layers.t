# Dependencies point downwards only, and nothing below the bridge knows Perl.

use strict;
use warnings;

use Test::More;

# Each directory of csrc/, and those whose headers its files may include.
my %may_include = (
    base     => [],
    codec    => [qw(base)],
    storable => [qw(base)],
    wire     => [qw(base codec storable)],
    tls      => [qw(base)],
    net      => [qw(base codec wire tls)],
    perl     => [qw(base codec storable wire tls net)],
);

for my $layer (sort keys %may_include) {
    my %allowed = map { $_ => 1 } $layer, @{ $may_include{$layer} };
    for my $file (sort glob "csrc/$layer/*.[ch]") {
        open my $fh, '<', $file or die "Cannot read $file: $!";
        my (@wrong, $text);
        while (my $line = <$fh>) {
            $text .= $line;
            my ($included) = $line =~ /^\s*#\s*include\s*["<]([^">]+)[">]/ or next;
            push @wrong, $included if $included =~ m{\A(\w+)/} && $may_include{$1} && !$allowed{$1};
            push @wrong, $included if $included =~ /\.c\z/;
            push @wrong, $included if $layer ne 'tls' && $included eq 'openssl/ssl.h';
            push @wrong, $included
                if $layer ne 'perl' && $included =~ /\A(?:EXTERN|perl|XSUB|ppport)\.h\z/;
        }
        is_deeply(\@wrong, [], "$file includes only what its layer may");
        if ($file =~ m{csrc/(\w+)/(\w+)\.h\z}) {
            my $guard = uc "ETCP_$1_$2_H";
            like($text, qr/^#ifndef $guard\n#define $guard$/m, "$file has the guard $guard");
        }
        # Lines are meant to have 100 characters at most; a few more spare an ugly break.
        is_deeply([ grep { length > 105 || /[ \t]\z/ || /\t/ } split /\n/, $text ], [],
            "$file: no long line, no tab, no space at an end");
        is_deeply(long_functions($text), [], "$file: every function fits a screen") if $file =~ /\.c\z/;
    }
}
done_testing();

# Functions of more than 80 lines.
sub long_functions {
    my @lines = split /\n/, shift;
    my ($start, $name, @long);
    for my $number (0 .. $#lines) {
        ($start, $name) = ($number, $lines[$number]) if $lines[$number] =~ /\A[a-z].*\)\s*(?:\{\s*)?\z/;
        next if $lines[$number] !~ /\A\}/;
        push @long, $name if defined $start && $number - $start > 80;
        undef $start;
    }
    return \@long;
}
