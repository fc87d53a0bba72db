#!/usr/bin/perl
# Prints the table of the manual that says how releases of OpenSSL differ where this module uses them, found
# by xt/openssl_probe.c.
#
#     perl xt/openssl-table.pl [DIRECTORY ...]            the table of these, or of the installed one
#     perl xt/openssl-table.pl --compare [DIRECTORY ...]  whether the manual's table says the same of them
#
# A DIRECTORY is the root of an unpacked system: OpenSSL's headers and libraries, as Debian's packages
# libssl-dev and libssl* have them, and where they need a newer C library than this system's, libc6, libzstd1
# and zlib1g. Nothing of it is installed: the probe is run with these libraries. Needs a C compiler.

use strict;
use warnings;

use File::Temp ();

my $DOCUMENT = 'lib/Net/EasyTCP.pm';
my @FACTS    = (
    'AES-256-CBC, MD5', 'DES-EDE3-CBC', 'DES-CBC, BF-CBC, RC4', 'RSA of 512 bits', 'certificate compression',
    'security level', 'session tickets', 'first group', 'ClientHello', 'how a cut shows',
);
my $compares = @ARGV && $ARGV[0] eq '--compare' ? shift : '';
my $dir      = File::Temp::tempdir(CLEANUP => 1);
my @of       = map { facts_of($_) } @ARGV ? @ARGV : '';
exit($compares ? compare(@of) : print_table(@of));

sub facts_of {
    my $root = shift;
    my ($lib) = $root ? glob "$root/usr/lib/*-linux-gnu" : ();
    my $flags = $root ? join ' ', (map { "-I$_" } "$root/usr/include", glob "$root/usr/include/*-linux-gnu"),
        "-L$lib", '-Wl,--allow-shlib-undefined' : '';
    my $command = "cc -w -o $dir/probe xt/openssl_probe.c $flags -lssl -lcrypto";
    system($command) == 0 or die "$root: cannot be built\n";
    my ($loader) = $root && -e "$lib/libc.so.6" ? glob "$lib/ld-linux-*" : ();
    my $run = "$dir/probe";
    $run = $loader ? "$loader --library-path $lib $run" : "LD_LIBRARY_PATH=$lib $run" if $root;
    my %fact = map { /^(.*?)\t(.*)$/ } split /\n/, `OPENSSL_CONF=/dev/null $run`;
    die "$root: the probe does not run\n" if !defined $fact{'how a cut shows'};
    ($fact{version}) = $fact{version} =~ /(\d[\d.]*\w*)/;
    return \%fact;
}

# Those that share a row are alike in every release.
sub value {
    my ($fact, $name) = @_;
    my %different = map { $fact->{$_} => 1 } split /, /, $name;
    return join ' or ', sort keys %different;
}

sub row {
    my $line = sprintf "    %-24s" . '  %-14s' x (@_ - 1), @_;
    $line =~ s/ +\z//;
    return "$line\n";
}

sub print_table {
    my @of = @_;
    print row('OpenSSL', map { $_->{version} } @of), row('-' x 24, map { "-" x 14 } @of);
    foreach my $name (@FACTS) {
        print row($name, map { value($_, $name) } @of);
    }
    return 0;
}

# The manual's column for the release, or for another one of the same series.
sub compare {
    my @of = @_;
    open my $fh, '<', $DOCUMENT or die "$DOCUMENT: $!\n";
    my ($table) = do { local $/ = undef; <$fh> } =~ /^(    OpenSSL  +\d.*?)\n\n/ms or die "no table\n";
    my ($head, undef, @rows) = map { [ split /\s{2,}/, $_ ] } map { s/^ +//r } split /\n/, $table;
    my ($right, $known) = (0, 0);
    foreach my $fact (@of) {
        my $series = $fact->{version} =~ /^1/ ? '1.1.1' : $fact->{version} =~ /^(\d+\.\d+)/ ? $1 : '?';
        my ($column) = grep { $head->[$_] =~ /^\Q$series\E(?!\d)/ } 1 .. $#$head;
        if (!$column) { print "OpenSSL $fact->{version} is not in the table\n"; next }
        $known++;
        my @wrong = grep { $_->[$column] ne value($fact, $_->[0]) } @rows;
        foreach my $row (@wrong) {
            my $is = value($fact, $row->[0]);
            print "OpenSSL $fact->{version}: $row->[0]: the manual says $row->[$column], found was $is\n";
        }
        $right++ if !@wrong;
    }
    print "$right of $known releases are as the manual says\n";
    return $right == $known ? 0 : 1;
}
