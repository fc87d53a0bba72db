# MANIFEST and the tree agree. After adding or removing a file: make manifest.

use strict;
use warnings;

use ExtUtils::Manifest qw(manicheck filecheck maniread);
use Test::More tests => 3;

$ExtUtils::Manifest::Quiet = 1;
is_deeply([ grep { !/^META\./ } manicheck() ], [], 'every file of MANIFEST is there');
is_deeply([ filecheck() ], [], 'every file is in MANIFEST or MANIFEST.SKIP');

my @files = sort keys %{ maniread() };
is_deeply([ grep { -l $_ || -x _ && !m{^(?:tools|bench)/\w+\z} } @files ], [],
    'no symbolic links, and no programs but in tools and bench');
