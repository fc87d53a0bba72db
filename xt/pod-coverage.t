# Every public method is in the manual.

use strict;
use warnings;

use Test::More;

eval { require Test::Pod::Coverage; Test::Pod::Coverage->VERSION(1.08); Test::Pod::Coverage->import; 1 }
    or plan skip_all => 'Test::Pod::Coverage 1.08 is not here';
plan tests => 1;
pod_coverage_ok('Net::EasyTCP');
