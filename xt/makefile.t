# What Makefile.PL says and does where something is missing: the reason, the packages that help, no
# Makefile and status 0, which those who test CPAN take for "not applicable here".

use strict;
use warnings;

use Cwd qw(getcwd);
use ExtUtils::Manifest qw(maniread manicopy);
use File::Path qw(mkpath);
use File::Temp ();
use Test::More;

my $home = getcwd();
my $temp = File::Temp::tempdir(CLEANUP => 1);
END { chdir $home if defined $home }

$ExtUtils::Manifest::Quiet = 1;
my $files = maniread();
manicopy({ map { $_ => '' } grep {
    m{\A(?:Makefile\.PL|MANIFEST|Changes|EasyTCP\.xs|typemap|inc/|lib/)};
} keys %$files },
    "$temp/copy", 'cp');
chdir "$temp/copy" or die "Cannot enter $temp/copy: $!";

sub program {
    my ($name, $text) = @_;
    open my $fh, '>', "$temp/$name" or die "Cannot write $temp/$name: $!";
    print {$fh} "#!/bin/sh\n$text";
    close $fh or die "Cannot write $temp/$name: $!";
    chmod 0755, "$temp/$name" or die "Cannot change $temp/$name: $!";
    return "$temp/$name";
}

# Runs Makefile.PL; gives what it printed, on both handles.
sub configure {
    my ($name, %o) = @_;
    local @ENV{ keys %{ $o{env} || {} } } = values %{ $o{env} || {} };
    unlink 'Makefile';
    open my $fh, '>', 'Makefile' or die "Cannot write Makefile: $!";    # of an earlier run
    close $fh;
    my $output = `$^X Makefile.PL @{ $o{args} || [] } 2>&1`;
    is($?, 0, "$name: status 0");
    return $output;
}

sub refuses {
    my ($name, $wanted, %o) = @_;
    my $output = configure($name, %o);
    ok(!-e 'Makefile', "$name: no Makefile, not even the old one");
    like($output, $_, "$name: $_") for @$wanted;
    unlike($output, qr/^Warning|line \d+\.$/m, "$name: no complaint of perl's");
}

my $cc = (grep { $_ } map { /^cc='(.*)';/ ? $1 : () } `$^X -V:cc`)[0];
refuses('no compiler', [ qr/A C compiler is needed/, qr/Debian\s+gcc/, qr/not-a-compiler/ ],
    args => ["CC=$temp/not-a-compiler"]);
refuses('a compiler whose programs do not run', [qr/A C compiler is needed/],
    args => [ 'CC=' . program('broken',
        "$cc \"\$@\" || exit\nfor f; do [ \"\$o\" != -o ] || echo 'exit 1' >\"\$f\"; o=\$f; done\n") ]);

# As if the header were not installed.
sub without {
    my ($header) = @_;
    (my $name = $header) =~ s/\W/-/g;
    return 'CC=' . program("without-$name",
        "for f; do case \$f in *.c) ! grep -q '[<\"]${header}[>\"]' \"\$f\" ||"
            . " { echo 'fatal error: $header: No such file or directory' >&2; exit 1; } ;; esac; done\n"
            . "exec $cc \"\$@\"\n");
}
refuses("not what Perl's headers need", [ qr/Perl's headers are needed/, qr/Debian\s+libperl-dev/,
    qr/perl\.h: No such file/ ],
    args => [ without('perl.h') ]);
refuses('no zlib', [ qr/zlib with its headers is needed/, qr/Debian\s+zlib1g-dev/, qr/EASYTCP_ZLIB_PREFIX/,
        qr/zlib\.h: No such file/ ], args => [ without('zlib.h') ]);
refuses('no OpenSSL', [ qr/OpenSSL 1\.1\.1 or later with its headers is needed/, qr/Debian\s+libssl-dev/,
        qr/EASYTCP_OPENSSL_PREFIX/, qr/evp\.h: No such file/ ], args => [ without('openssl/evp.h') ]);
refuses('no part of OpenSSL for TLS', [ qr/OpenSSL .* is needed/, qr/Debian\s+libssl-dev/,
    qr/ssl\.h: No such file/ ],
    args => [ without('openssl/ssl.h') ]);

# What the user names is taken or nothing is.
for my $library ([ 'zlib', 'ZLIB', 'is needed' ], [ 'OpenSSL', 'OPENSSL', 'is needed' ],
    [ 'libdeflate', 'LIBDEFLATE', 'is not where' ]) {
    my ($name, $variable) = ($library->[0], "EASYTCP_$library->[1]_PREFIX");
    refuses("$name is not where the user says", [ qr/\Q$name\E.*$library->[2]/,
        qr{there is no \Q$temp\E/nowhere/include} ],
        env => { $variable => "$temp/nowhere" });
}

# An OpenSSL that is too old is no OpenSSL.
mkpath("$temp/old/include/openssl");
for my $header (qw(bn crypto evp opensslv rand ssl)) {
    open my $fh, '>', "$temp/old/include/openssl/$header.h" or die "Cannot write: $!";
    print {$fh} "#define OPENSSL_VERSION_NUMBER 0x1000214fL\n";
    close $fh or die "Cannot write: $!";
}
refuses('an old OpenSSL', [qr/OpenSSL 1\.1\.1 or later is needed/],
    env => { EASYTCP_OPENSSL_PREFIX => "$temp/old" });

# A program that links but does not end well: that much is said, even if it says nothing itself.
refuses('an OpenSSL whose programs fail', [ qr/OpenSSL .*is needed/,
    qr/but ended with status 3 and said nothing/ ],
    args => [ 'CC=' . program('failing-ssl', "$cc \"\$@\" || exit\n"
            . "for f; do case \$f in *.c) source=\$f ;; esac; [ \"\$o\" != -o ] || made=\$f; o=\$f; done\n"
            . "! grep -q ssl.h \"\$source\" || echo 'exit 3' >\"\$made\"\n") ]);

for my $name ('a space', "it's a quote") {
    mkpath("$temp/$name");
    my $said = configure("temporary files in $name", env => { TMPDIR => "$temp/$name" });
    ok(-s 'Makefile', "temporary files in $name: a Makefile") or diag($said);
}

# What is not needed.
for my $case ([ 'no libdeflate', args => [ without('libdeflate.h') ] ],
    [ 'libdeflate is not wanted', env => { EASYTCP_LIBDEFLATE_PREFIX => 'none' } ]) {
    my ($name, %o) = @$case;
    my $said = configure($name, %o);
    open my $fh, '<', 'Makefile' or die "Cannot read Makefile: $!";
    my $makefile = do { local $/ = undef; <$fh> };
    like($makefile, qr/^DEFINE = -D_GNU_SOURCE$/m, "$name: a Makefile without it") or diag($said);
    unlike($makefile, qr/-ldeflate/, "$name: nothing is linked with it");
}

my $output = configure('all is here');
ok(-s 'Makefile', 'all is here: a Makefile');
like($output, qr/^Looking for zlib: \d/m, 'all is here: it says which zlib');
like($output, qr/^Looking for OpenSSL: .*\d/m, 'all is here: and which OpenSSL');
done_testing();
