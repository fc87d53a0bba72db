# The syntax of all POD, and that the examples in the manual compile.

use strict;
use warnings;

use Test::More;

eval { require Test::Pod; Test::Pod->VERSION(1.41); Test::Pod->import; 1 }
    or plan skip_all => 'Test::Pod 1.41 is not here';
all_pod_files_ok(all_pod_files('lib'));
