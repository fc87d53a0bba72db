package EasyTCP::Metadata;

# What META.json says of the distribution, and how its tarball is made: the arguments of WriteMakefile
# that do not depend on the machine. Used by Makefile.PL only.

use strict;
use warnings;

use ExtUtils::MakeMaker ();

sub arguments {
    return (
        NAME         => 'Net::EasyTCP',
        VERSION_FROM => 'lib/Net/EasyTCP.pm',
        ABSTRACT     => 'TCP servers and clients that exchange messages, with compression and encryption',
        AUTHOR       => 'The Net::EasyTCP maintainers; interface and protocol by Mina Naguib',
        LICENSE      => 'perl_5',
        _prerequisites(),
        META_MERGE => {
            'meta-spec'    => { version => 2 },
            dynamic_config => 1,
            provides       => _provides(),
            no_index       => { directory => [qw(bench csrc examples fuzz inc t tools xt)] },
            resources      => {
                license    => ['https://dev.perl.org/licenses/'],
                homepage   => 'https://metacpan.org/dist/Net-EasyTCP',
                bugtracker => { web => 'https://rt.cpan.org/Dist/Display.html?Name=Net-EasyTCP' },
            },
            x_contributors => ['Mina Naguib (original author of the interface and the protocol)'],
        },
        dist => _dist_flags(),
    );
}

# All of these belong to perl; xt/prereqs.t compares them with what is used.
sub _prerequisites {
    my %every = map { $_ => 0 } qw(strict warnings);
    return (
        MIN_PERL_VERSION   => '5.008009',
        CONFIGURE_REQUIRES => {
            %every,
            'ExtUtils::MakeMaker' => '6.64',
            map { $_ => 0 } qw(Config File::Spec File::Temp lib),
        },
        BUILD_REQUIRES => { 'ExtUtils::ParseXS' => 0 },
        TEST_REQUIRES  => {
            'Test::More' => '0.88',    # perl 5.8.9 came with 0.86
            map { $_ => 0 } qw(B Config Data::Dumper DynaLoader File::Spec File::Temp Hash::Util IO::Handle
                IO::Poll IO::Socket::INET IO::Socket::UNIX IPC::Open2 POSIX Socket Tie::Array Tie::Hash
                Tie::Scalar Time::HiRes),
        },
        PREREQ_PM => {
            %every,
            map { $_ => 0 } qw(Carp Exporter IO::Select IO::Socket Scalar::Util Storable XSLoader
                warnings::register),
        },
    );
}

# The modules that the indexer of CPAN shall know, each with the file that it is in.
sub _provides {
    my %provides;
    for my $file (sort map { glob "lib/Net/$_" } qw(*.pm */*.pm)) {
        (my $module = $file) =~ s{\Alib/(.*)\.pm\z}{$1};
        $module =~ s{/}{::}g;
        my $version = MM->parse_version($file);
        $provides{$module} = {
            file => $file,
            (defined $version && $version ne 'undef' ? (version => $version) : ()),
        };
    }
    return \%provides;
}

# Two builds of the tarball are the same, byte by byte: sorted, no owner, no time but the release's.
sub _dist_flags {
    my %dist = (COMPRESS => 'gzip -9nf', SUFFIX => '.gz');
    my $tar = `tar --version 2>&1`;
    return \%dist if !defined $tar || $tar !~ /GNU tar/;
    open my $changes, '<', 'Changes' or return \%dist;
    my ($date) = map { /^\d\S*\s+(\d{4}-\d\d-\d\d)/ ? $1 : () } <$changes>;
    $dist{TARFLAGS} = '--format=ustar --sort=name --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw'
        . ($date ? " --mtime=${date}T00:00:00Z" : '') . ' -cf';
    return \%dist;
}

1;
