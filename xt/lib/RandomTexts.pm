package RandomTexts;

# The texts of $@ that the manual's TROUBLESHOOTING knows, as a pattern for each.

use strict;
use warnings;

sub _slurp {
    my $file = shift;
    open my $fh, '<', $file or die "$file: $!";
    local $/ = undef;
    return scalar <$fh>;
}

# What varies is in italics in items; in tables it is a capital letter alone, or three dots.
sub _pattern_of_item {
    my $text = shift;
    $text =~ s/\s+/ /g;
    my @parts = split /(I<[^<>]*>)/, $text;
    return join '', map { my $part = $_; $part =~ s/^[BCL]<+\s*(?:[^|>]*\|)?|>+$//g if $part !~ /^I</;
        $part =~ /^I</ ? '.*?' : quotemeta $part } @parts;
}

sub _pattern_of_row {
    my $text = shift;
    return join '', map { /^(?:[A-Z]|\.\.\.)$/ ? '.*?' : quotemeta } split /(\b[A-Z]\b|\.\.\.)/, $text;
}

sub new {
    my ($class, $file) = @_;
    my ($section) = _slurp($file) =~ /^=head1 TROUBLESHOOTING\n(.*?)^=head1 /ms or die 'no section';
    my @patterns = map { _pattern_of_item($_) } $section =~ /^=item (.+?)\n\n/gms;
    push @patterns, map { _pattern_of_row($_) } map { /^    (\S.*?)(?:\s{2,}.*)?$/ ? $1 : () }
        split /\n/, $section;
    my $all = join '|', grep { length > 8 } @patterns;
    return bless { known => {}, pattern => qr/\A(?:$all)(?:,? at \S+ line \d+)*\.?\n?\z/s }, $class;
}

sub knows {
    my ($self, $text) = @_;
    my $plain = $text;
    $plain =~ s/\d+/1/g;
    return $self->{known}{$plain} if defined $self->{known}{$plain};
    return $self->{known}{$plain} = $text =~ $self->{pattern} ? 1 : 0;
}

1;
