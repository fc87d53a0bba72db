# The documents as a reader meets them: no sentence is longer than 40 words, names in code not counted, and
# aspell knows every word, or xt/words.txt does.
use strict;
use warnings;

use Test::More;
use Pod::Simple::Text ();

my $LONGEST = 40;

# The running text of a document, a paragraph each. Lines that are indented are code, or are read as such.
sub paragraphs {
    my $file = shift;
    return $file =~ /\.md\z/ ? paragraphs_of_markdown($file) : paragraphs_of_pod($file);
}

{
    package ProseOnly;
    our @ISA = 'Pod::Simple';

    sub new {
        my $self = shift->SUPER::new(@_);
        $self->nix_X_codes(1);
        $self->{prose} = [];
        return $self;
    }

    sub _handle_element_start {
        my ($self, $name) = @_;
        push @{ $self->{prose} }, '' if $name =~ /\A(?:Para|item-\w+|head\d)\z/;
        $self->{silent}++ if $name =~ /\A(?:Verbatim|Data|C|F|L)\z/;
        $self->{prose}[-1] .= ' X ' if $name =~ /\A[CFL]\z/ && @{ $self->{prose} };
        return;
    }

    sub _handle_element_end {
        my ($self, $name) = @_;
        $self->{silent}-- if $name =~ /\A(?:Verbatim|Data|C|F|L)\z/;
        return;
    }

    sub _handle_text {
        my ($self, $text) = @_;
        $self->{prose}[-1] .= $text if !$self->{silent} && @{ $self->{prose} };
        return;
    }
}

sub paragraphs_of_pod {
    my $file   = shift;
    my $parser = ProseOnly->new;
    $parser->parse_file($file);
    return @{ $parser->{prose} };
}

sub paragraphs_of_markdown {
    my $file = shift;
    open my $fh, '<', $file or die "$file: $!";
    my $text = do { local $/ = undef; <$fh> };
    $text =~ s/^```.*?^```//msg;
    $text =~ s/^    .*$//mg;
    $text =~ s/`[^`]*`/ X /g;
    $text =~ s/\]\([^)]*\)/]/g;
    $text =~ s/^[ ]*[-*#|]/\n/mg;
    $text =~ s/[|]/\n\n/g;
    $text =~ s/[*]+//g;
    return grep { /\w/ } split /\n\s*\n/, $text;
}

sub long_sentences {
    my @long;
    foreach my $paragraph (@_) {
        (my $line = $paragraph) =~ s/\s+/ /g;
        # What a colon introduces, a list for example, is read by itself.
        my @sentences = split /(?<=[.!?])["')]*\s+(?=[("']?[A-Z0-9])|: /, $line;
        push @long, grep { my @words = grep { $_ ne 'X' } /[\w'-]+/g; @words > $LONGEST } @sentences;
    }
    return @long;
}

sub names_in {
    my $file = shift;
    open my $fh, '<', $file or die "$file: $!";
    my $text = do { local $/ = undef; <$fh> };
    return map { /(\w+)/g } $text =~ /[CFL]<+ ?([^<>]+)/g, $text =~ /`([^`\n]+)`/g,
        $text =~ /^(?:    |=head2|=item)(.*)$/mg;
}

my @documents = (glob('*.md'), glob('lib/Net/*.pm'), glob('lib/Net/EasyTCP/*.p*'));
foreach my $file (@documents) {
    my @long = long_sentences(paragraphs($file));
    is(scalar @long, 0, "$file: no sentence over $LONGEST words") or diag map { "- $_\n" } @long;
}

SKIP: {
    my $version = `aspell --version 2>&1`;
    skip 'aspell with its English dictionary is not here', scalar @documents
        if !$version || `aspell dicts 2>&1` !~ /^en_US$/m;
    open my $list, '<', 'xt/words.txt' or die "xt/words.txt: $!";
    chomp(my @words = <$list>);
    # What is a name in code is one in the text, too.
    my %known = map { lc $_ => 1 } @words, map { names_in($_) } @documents;
    foreach my $file (@documents) {
        open my $ask, '>', 'xt/prose.tmp' or die "xt/prose.tmp: $!";
        print {$ask} map { my $text = $_; $text =~ s/\S*[\d_:\/.@]\S*\w//g; "$text\n" } paragraphs($file);
        close $ask or die "xt/prose.tmp: $!";
        my %unknown;
        foreach my $word (`aspell list --lang=en_US --encoding=utf-8 < xt/prose.tmp`) {
            chomp $word;
            (my $base = lc $word) =~ s/'s\z//;
            $unknown{$word} = 1 unless $known{ lc $word } || $known{$base};
        }
        unlink 'xt/prose.tmp';
        is(join(' ', sort keys %unknown), '', "$file: spelling");
    }
}
done_testing();
