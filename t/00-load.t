# The module loads, has the version it says, and all its methods.

use strict;
use warnings;

use Test::More tests => 6 + 31;

my @warnings;
BEGIN { $SIG{__WARN__} = sub { push @warnings, @_ } }
BEGIN { use_ok('Net::EasyTCP') }

diag("Net::EasyTCP $Net::EasyTCP::VERSION, perl $], $^O, Storable $Storable::VERSION");

is_deeply(\@warnings, [], 'loading it warns of nothing');
ok(eval { Net::EasyTCP->VERSION(0.26); 1 }, 'it passes for 0.26') or diag($@);
ok(eval { Net::EasyTCP->VERSION(1.10); 1 }, 'and for 1.10') or diag($@);
ok(!eval { Net::EasyTCP->VERSION(99); 1 }, 'but not for 99');
is_deeply([ @Net::EasyTCP::EXPORT, do {
    no warnings 'once';
    @Net::EasyTCP::EXPORT_OK;
} ], [], 'it exports nothing');

can_ok('Net::EasyTCP', $_) for qw(
    new addclientip broadcast callback client clientlist clients close compression data deleteclientip
    disconnect do_one_loop encryption localip mode pending port receive remoteip remoteport running send
    serial setcallback socket start stop unwatch VERSION watch
);
