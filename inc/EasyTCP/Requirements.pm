package EasyTCP::Requirements;

# What has to be on the machine before anything is built: a compiler, Perl's headers, zlib, OpenSSL. What is
# missing ends Makefile.PL with the reason and the packages that help. Used by Makefile.PL only.

use strict;
use warnings;

use Config;

# Looks for everything with an EasyTCP::Probe. Returns what find_library gives for zlib, OpenSSL and
# libdeflate, or does not return. The last may be missing: then it is an empty hash.
sub find {
    my $probe = shift;
    _require_compiler($probe);
    _require_perl_headers($probe);
    return (zlib => _zlib($probe), openssl => _openssl($probe), libdeflate => _libdeflate($probe));
}

# Ends Makefile.PL: without a Makefile and with status 0, which those who test CPAN take for "not
# applicable here", not for "failed".
sub _give_up {
    my ($what, $reason) = @_;
    $reason =~ s/^/    /mg;
    print "\n$what\n\n$reason\n";
    unlink 'Makefile';
    exit 0;
}

sub _packages {
    my %packages = @_;
    my @names = grep { $packages{$_} } qw(Debian Fedora Alpine FreeBSD macOS);
    return join "\n", map { sprintf '    %-8s  %s', $_, $packages{$_} } @names;
}

sub _require_compiler {
    my $probe = shift;
    return if $probe->has_compiler;
    _give_up("A C compiler is needed ($probe->{cc} does not work). Packages that have one:\n"
          . _packages(Debian => 'gcc libc6-dev make', Fedora => 'gcc make', Alpine => 'gcc musl-dev make',
            FreeBSD => 'part of the base system', macOS => 'xcode-select --install'),
        $probe->{output});
}

# They need headers of the C library in turn, which need not come with the compiler: <crypt.h>.
sub _require_perl_headers {
    my $probe = shift;
    return if $probe->compiles(<<'C', qq("-I$Config{archlibexp}/CORE"));
#include "EXTERN.h"
#include "perl.h"
C
    _give_up("Perl's headers are needed, and what they need. Packages that have them:\n"
          . _packages(Debian => 'libperl-dev', Fedora => 'perl-devel', Alpine => 'perl-dev',
            FreeBSD => 'part of the package perl5', macOS => 'part of the Xcode command line tools'),
        $probe->{output});
}

my @homebrew = qw(/opt/homebrew /usr/local /opt/local);

sub _zlib {
    my $probe = shift;
    my $found = $probe->find_library(
        name            => 'zlib',
        header          => 'zlib.h',
        prefix_variable => 'EASYTCP_ZLIB_PREFIX',
        pkg             => 'zlib',
        libs            => '-lz',
        prefixes        => [ (map { "$_/opt/zlib" } @homebrew), @homebrew ],
        source          => <<'C',
#include <stdio.h>
#include <string.h>
#include <zlib.h>
int main(void)
{
    z_stream z;
    if (zlibVersion()[0] != ZLIB_VERSION[0]) {
        printf("header %s, library %s\n", ZLIB_VERSION, zlibVersion());
        return 1;
    }
    memset(&z, 0, sizeof z);
    if (deflateInit2(&z, -1, Z_DEFLATED, 15, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return 1;
    deflateEnd(&z);
    printf("%s\n", zlibVersion());
    return 0;
}
C
    );
    return $found || _give_up("zlib with its headers is needed. Packages that have it:\n"
          . _packages(Debian => 'zlib1g-dev', Fedora => 'zlib-devel', Alpine => 'zlib-dev',
            FreeBSD => 'part of the base system', macOS => 'brew install zlib')
          . "\nIf it is in an unusual place, set EASYTCP_ZLIB_PREFIX.",
        $probe->{output});
}

# Both of its libraries: libcrypto for ciphers, libssl for TLS. LibreSSL calls itself 2.0.0 and has what
# is used here, so it may pass. What the configuration of this machine refuses, FIPS mode for one, is no
# reason not to build: it may run elsewhere, and does without where it must.
sub _openssl {
    my $probe = shift;
    my $found = $probe->find_library(
        name            => 'OpenSSL',
        header          => 'openssl/ssl.h',
        prefix_variable => 'EASYTCP_OPENSSL_PREFIX',
        pkg             => 'openssl',
        libs            => '-lssl -lcrypto',
        prefixes        => [
            (map { my $at = $_; map { "$at/opt/$_" } 'openssl@3', 'openssl@1.1', 'openssl' } @homebrew),
            @homebrew,
        ],
        source          => <<'C',
#include <stdio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/opensslv.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#if OPENSSL_VERSION_NUMBER < 0x10101000L
#error OpenSSL 1.1.1 or later is needed
#endif
int main(void)
{
    unsigned char bytes[16], digest[EVP_MAX_MD_SIZE];
    BIGNUM *n = BN_new();
    SSL_CTX *tls = SSL_CTX_new(TLS_method());
    int has_random = RAND_bytes(bytes, (int)sizeof bytes) == 1;
    int has_md5 = EVP_Digest(bytes, sizeof bytes, digest, NULL, EVP_md5(), NULL) == 1;
    OPENSSL_cleanse(bytes, sizeof bytes);
    SSL_CTX_free(tls);
    BN_free(n);
    if (OpenSSL_version_num() >> 28 != OPENSSL_VERSION_NUMBER >> 28) {
        printf("header %s, library %s\n", OPENSSL_VERSION_TEXT, OpenSSL_version(OPENSSL_VERSION));
        return 1;
    }
    printf("%s%s%s\n", OpenSSL_version(OPENSSL_VERSION),
           has_random ? "" : ", configured to give no random bytes",
           has_md5 ? "" : ", configured to refuse MD5");
    return 0;
}
C
    );
    return $found || _give_up("OpenSSL 1.1.1 or later with its headers is needed. Packages that have it:\n"
          . _packages(Debian => 'libssl-dev', Fedora => 'openssl-devel', Alpine => 'openssl-dev',
            FreeBSD => 'part of the base system (or the port openssl)', macOS => 'brew install openssl@3')
          . "\nIf it is in an unusual place, set EASYTCP_OPENSSL_PREFIX.",
        $probe->{output});
}

# Makes the streams that zlib reads in a third of zlib's time. Nothing needs it.
sub _libdeflate {
    my $probe = shift;
    my $prefix = $ENV{EASYTCP_LIBDEFLATE_PREFIX};
    $prefix = '' if !defined $prefix;
    return {} if $prefix eq 'none';
    my $found = $probe->find_library(
        name            => 'libdeflate, which may be missing',
        header          => 'libdeflate.h',
        prefix_variable => 'EASYTCP_LIBDEFLATE_PREFIX',
        pkg             => 'libdeflate',
        libs            => '-ldeflate',
        prefixes        => [ (map { "$_/opt/libdeflate" } @homebrew), @homebrew ],
        source          => <<'C',
#include <libdeflate.h>
#include <stdio.h>
#include <string.h>
int main(void)
{
    unsigned char run[8], packed[64];
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(9);
    size_t len;
    memset(run, 'a', sizeof run);
    if (!c || libdeflate_zlib_compress_bound(c, sizeof run) > sizeof packed)
        return 1;
    len = libdeflate_zlib_compress(c, run, sizeof run, packed, sizeof packed);
    libdeflate_free_compressor(c);
    if (len < 8 || packed[0] != 0x78 || (packed[0] << 8 | packed[1]) % 31)
        return 1;
    printf("%s\n", LIBDEFLATE_VERSION_STRING);
    return 0;
}
C
    );
    return $found || {} if $prefix eq '' || $found;
    return _give_up("libdeflate is not where EASYTCP_LIBDEFLATE_PREFIX says. Nothing needs it: set it to "
          . "'none' to do without.",
        $probe->{output});
}

1;
