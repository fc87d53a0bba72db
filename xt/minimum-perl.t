# What perl 5.8.9 would not understand. Perl::MinimumVersion knows best; without it, a few patterns.

use strict;
use warnings;

use Test::More;

my @files = grep { !m{\At/lib/original\.pl\z} }
    ('Makefile.PL', glob('inc/*/*.pm lib/Net/*.pm t/*.t t/lib/*.p[lm] examples/*.pl tools/*.pl'));

if (eval { require Perl::MinimumVersion; require version; 1 }) {
    for my $file (sort @files) {
        my $found = Perl::MinimumVersion->new($file);
        my $minimum = $found ? $found->minimum_version : undef;
        ok(defined $minimum && $minimum <= version->new('5.008009'), "$file needs no later perl than 5.8.9")
            or diag('it needs ', defined $minimum ? $minimum : 'who knows');
    }
}
else {
    for my $file (sort @files) {
        open my $fh, '<', $file or die "Cannot read $file: $!";
        my (@later, $heredoc);
        while (my $line = <$fh>) {
            last if $line =~ /\A__END__/;
            next if $line =~ /\A=\w/ .. $line =~ /\A=cut/;
            if (defined $heredoc) {
                undef $heredoc if $line =~ /\A\Q$heredoc\E\Z/;
                next;
            }
            $heredoc = $1 if $line =~ /<<["']?(\w+)["']?/;
            $line =~ s/(?:\A|\s)#.*//s;
            push @later, "$.: $line"
                if $line =~ m{ (?: [\w)\]\}] \s+ //=? \s | \buse \s+ (?:feature|v?5\.[1-9]\d) | \bsay \s+["\$]
                    | \bpackage \s+ [\w:]+ \s* \{ | \bstate \s+ [\$\@%] | /[gimsxe]*r[gimsxe]*; \s*\z
                    | ->[\@%]\* ) }x;
        }
        is_deeply(\@later, [], "$file has nothing that perl 5.8.9 would not understand");
    }
}
done_testing();
