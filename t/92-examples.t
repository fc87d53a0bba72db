# The programs of examples/ work together: the server, the client, and the relay between them that shows
# the wire without using the module.

use strict;
use warnings;

use Test::More;

plan skip_all => 'the examples are not here' if !-e 'tools/demo.pl' || !-e 'examples/echo-server.pl';
plan tests => 18;

my $command = join ' ', map { qq{"$_"} } $^X, (map { "-I$_" } @INC), 'tools/demo.pl';
my $output  = `$command 2>&1`;
is($?, 0, 'all three end well') or diag($output);

my %said;
push @{ $said{$1} }, $2 while $output =~ /^(server|wire|client)\s+(.*)$/mg;
my ($server, $wire, $client) = map { join "\n", @{ $said{$_} || [] } } qw(server wire client);

SKIP: {
    skip 'no crypt() for the passwords of an old client', 2 if $output =~ /^old +No client/m;
    like($server,
        qr/^Client 1 connected from 127\.0\.0\.1, compression Compress::Zlib, encryption (?!TLS)\S+$/m,
        'an old client was there');
    like($output, qr/^old +A client of 0\.26 got its string back/m, 'and was served');
}
like($server, qr/^Client \d connected from 127\.0\.0\.1, compression Compress::Zlib, encryption TLS$/m,
    'the server was connected to, with compression and encryption');
like($server, qr/^Client \d sent 11 bytes$/m,      'it got a string');
like($server, qr/^Client \d sent a structure$/m,   'a hash');
like($server, qr/^Client \d sent 2097152 bytes$/m, 'and two megabytes');
like($server, qr/^Stopped$/m,                     'and stopped when told');

like($client, qr/^A string came back: HELLO THERE$/m,                'the client got the string');
like($client, qr/^A hash came back: just another => perl hacker$/m, 'the hash');
like($client, qr/^Binary data came back: 2097152 bytes/m,           'and the two megabytes');

like($wire, qr/^server: negotiation, \d+ bytes: \(welcome\) ETCP1 1\.\d+ A\w* 12 Z[A-P] %/m,
    'the relay saw what the server offers behind its welcome text');
like($wire, qr/^client: negotiation, \d+ bytes: NO I don't understand you ETCP1 1\.\d+ +\w*T1$/m,
    'what the client chose');
is(scalar(() = $wire =~ /negotiation/g), 2, 'one packet of each in clear');
like($wire, qr/^TLS from the $_: \d+ records, \d+ bytes$/m, "then TLS from the $_") foreach qw(client server);
unlike($wire, qr/^\w+: message/m, 'and no message in clear');
cmp_ok(($output =~ tr/\n//), '<', 24, 'all of it fits on a screen, tools/demo included');
