# Every block of code in the documents compiles, if it is Perl, and names files that are here, if it is for a
# shell. The server and the client of the manual's SYNOPSIS talk to each other.
use strict;
use warnings;

use File::Temp ();
use Test::More;

my $dir  = File::Temp::tempdir(CLEANUP => 1);
my @perl = ($^X, map { "-I$_" } @INC);

sub slurp {
    my $file = shift;
    open my $fh, '<', $file or die "$file: $!";
    local $/ = undef;
    return scalar <$fh>;
}

# Pairs of line number and text: what is indented by four, or fenced.
sub blocks_of {
    my $file  = shift;
    my @lines = split /\n/, slurp($file), -1;
    my ($code, $fenced, @blocks) = ($file =~ /\.pm\z/, 0);
    foreach my $number (1 .. @lines) {
        my $line = $lines[ $number - 1 ];
        if ($code) { $code = 0 if $line eq '__END__'; next }
        my $fence = $line =~ /^```/;
        $fenced = !$fenced if $fence;
        my $inside = !$fence && ($fenced || $line =~ /^    / || $line eq '' && @blocks && $blocks[-1][2]);
        if (!$inside) { $blocks[-1][2] = 0 if @blocks }
        elsif (@blocks && $blocks[-1][2]) { $blocks[-1][1] .= "$line\n" }
        else { push @blocks, [ $number, "$line\n", 1 ] }
    }
    return @blocks;
}

sub is_perl {
    my $block = shift;
    return 0 if is_shell($block);
    return $block =~ /^\s*(?:use |my |[\$\@%]\w+(?:->|\{|\s*=)|sub |until |while |eval |\}\s*$)/m
        && $block =~ /;|\}\s*$/;
}

sub is_shell {
    my $block = shift;
    my $command = qr/(?:perl|prove|sh|bash|clang|mkdir|kill) |make\b|cpan/;
    return $block =~ /\A\s*(?:\$ |$command|EASYTCP_\w+=|LD_PRELOAD=)/;
}

sub compiles {
    my ($name, $block) = @_;
    $block =~ s/\Q(...)\E/()/g;    # what a reader has to fill in
    $block =~ s/^\s*\.\.\.;?\s*$//mg;
    open my $fh, '>', "$dir/block.pl" or die $!;
    print {$fh} "no strict; no warnings; use Net::EasyTCP; sub {\n$block\n}\n";
    close $fh or die $!;
    my $command = join ' ', map { qq{"$_"} } @perl, '-c', "$dir/block.pl";
    my $said = `$command 2>&1`;
    return ok($? == 0, $name) || diag $block, $said;
}

my @documents = (glob('*.md'), glob('lib/Net/*.pm'), glob('lib/Net/EasyTCP/*.p*'));
my %count = (perl => 0, shell => 0);
foreach my $file (@documents) {
    foreach my $part (blocks_of($file)) {
        my ($line, $block) = @$part;
        if (is_perl($block)) {
            $count{perl}++;
            compiles("$file, line $line", $block);
        }
        elsif (is_shell($block)) {
            $count{shell}++;
            my $directory = qr/t|xt|tools|examples|bench|fuzz|csrc|findings/;
            my @files     = $block =~ m{(?<![\w/.])($directory/[\w./-]*\w)(?![\w*])}g;
            my @missing   = grep { !-e } grep { !m{build|/path|^fuzz/fuzz_client$} } @files;
            is("@missing", '', "$file, line $line: names files that are here");
        }
    }
}
cmp_ok($count{perl},  '>', 40, 'blocks of Perl were found');
cmp_ok($count{shell}, '>', 4,  'blocks for a shell, too');

# ---- the SYNOPSIS -------------------------------------------------------------------------------

my ($synopsis) = slurp('lib/Net/EasyTCP.pm') =~ /^=head1 SYNOPSIS\n(.*?)^=head1 /ms;
my ($server, $client) = $synopsis =~ /^(    use Net::EasyTCP;\n.*?)^(?=\S)/msg;
my $port = do {
    require IO::Socket::INET;
    IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')->sockport;
};
my @programs = ($server, $client);
foreach my $number (0, 1) {
    $programs[$number] =~ s/\b2345\b/$port/g;
    open my $fh, '>', "$dir/$number.pl" or die $!;
    print {$fh} "use strict; use warnings;\n$programs[$number]";
    close $fh or die $!;
}
my $pid = fork;
defined $pid or die "Cannot fork: $!";
if (!$pid) {
    open STDOUT, '>', "$dir/server.out" or die $!;
    exec @perl, '-w', "$dir/0.pl" or die $!;
}
for (1 .. 200) {
    last if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
    select undef, undef, undef, 0.1;
}
my $command = join ' ', map { qq{"$_"} } @perl, '-w', "$dir/1.pl";
is(scalar `$command 2>&1`, "structure\n", 'SYNOPSIS: the client gets back what it sent');
kill TERM => $pid;
waitpid $pid, 0;
done_testing();
