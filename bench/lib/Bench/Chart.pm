package Bench::Chart;

# Results as a bar chart in SVG. Each workload has its own scale: its fastest bar is the longest.

use strict;
use warnings;

use Bench::Results;

my ($WIDTH, $LABELS, $BARS, $LINE, $TITLE) = (760, 170, 400, 20, 26);
my @COLOURS = ('#9a9a9a', '#1f6fb2', '#d9822b', '#5a9e6f');

sub svg {
    my ($results, $workloads, $contestants) = @_;
    my $y    = 10;
    my $body = '';
    for my $workload (@$workloads) {
        $body .= _text(10, $y + 16, "$workload->{title}, $workload->{unit}", 'font-weight="bold"');
        $y += $TITLE;
        $body .= _bars($y, $results, $workload, $contestants);
        $y += $LINE * @$contestants + 10;
    }
    return <<"SVG" . $body . "</svg>\n";
<svg xmlns="http://www.w3.org/2000/svg" width="$WIDTH" height="$y" viewBox="0 0 $WIDTH $y"
 font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#ffffff"/>
SVG
}

sub _bars {
    my ($y, $results, $workload, $contestants) = @_;
    my @names = map { $_->{name} } @$contestants;
    my @rates = map { $results->value($workload->{name}, $_, 'rate') || 0 } @names;
    my ($most) = sort { $b <=> $a } @rates, 1e-9;
    my $svg = '';
    for my $i (0 .. $#names) {
        my $label = _label($results, $workload, $names[$i]);
        $svg .= _text(20, $y + 14, $contestants->[$i]{title});
        $svg .= _bar($y, $rates[$i] / $most, $COLOURS[ $i % @COLOURS ]);
        $svg .= _text($LABELS + $BARS + 10, $y + 14, $label);
        $y += $LINE;
    }
    return $svg;
}

sub _label {
    my ($results, $workload, $contestant) = @_;
    my @of   = ($workload->{name}, $contestant, 'rate');
    my $rate = $results->value(@of);
    return 'failed' if !defined $rate;
    my $text  = Bench::Results::number($rate * $workload->{scale});
    my $ratio = $results->ratio(@of);
    return defined $ratio ? sprintf '%s  (%s x)', $text, Bench::Results::number($ratio) : $text;
}

sub _bar {
    my ($y, $share, $colour) = @_;
    return sprintf qq{<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>\n},
      $LABELS, $y + 2, $BARS * $share, $LINE - 4, $colour;
}

sub _text {
    my ($x, $y, $text, $attributes) = @_;
    my %entity = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;');
    $text =~ s/([&<>])/$entity{$1}/g;
    return sprintf qq{<text x="%d" y="%d" %s>%s</text>\n}, $x, $y, $attributes || '', $text;
}

1;
