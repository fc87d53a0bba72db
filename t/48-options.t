# How options are read: each value once, with its magic, before anything is made; names that are nearly
# those of options and callbacks are warned of, and nothing is ever refused because of its name.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Tie::Array;
use Tie::Hash;
use Tie::Scalar;
use Net::EasyTCP;

my $echo = spawn_server(donotencryptwith => 'TLS');
my %to = (mode => 'client', host => '127.0.0.1', port => $echo->{port});

sub cipher_with {
    my $client = Net::EasyTCP->new(%to, @_) or return "none: $@";
    return $client->encryption;
}

# ---- values with magic ---------------------------------------------------------------------------

{
    package Counted;
    our $Reads = 0;
    our @ISA = ('Tie::StdScalar');
    sub FETCH { $Reads++; return ${ $_[0] } }

    package Counted::Array;
    our @ISA = ('Tie::StdArray');
    sub FETCH { $Counted::Reads++; return $_[0][ $_[1] ] }

    package Text;
    use overload '""' => sub { $Counted::Reads++; return $_[0]{text} }, fallback => 1;
}

my @first_two = qw(Crypt::Rijndael Crypt::Twofish2);
tie my @tied, 'Counted::Array';
@tied = @first_two;
my @elements = (undef, undef);
tie $elements[$_], 'Counted' foreach 0, 1;
$elements[$_] = $first_two[$_] foreach 0, 1;
my @objects = map { bless { text => $_ }, 'Text' } @first_two;
my @overlong = (@first_two, undef, 'Crypt::DES');

foreach my $case ([ 'an array', \@first_two ], [ 'a tied array', \@tied, 2 ],
    [ 'tied elements', \@elements, 2 ],
    [ 'objects', \@objects, 2 ], [ 'undefined elements', \@overlong ]) {
    my ($name, $list, $reads) = @$case;
    $Counted::Reads = 0;
    is(cipher_with(donotencryptwith => $list), 'Crypt::RC6', "donotencryptwith with $name");
    is($Counted::Reads, $reads, 'each is read once') if $reads;
    $Counted::Reads = 0;
    is(cipher_with(requireencryption => $list), 'Crypt::Rijndael', "requireencryption with $name");
    is($Counted::Reads, $reads, 'each is read once') if $reads;
}
is(cipher_with(requireencryption => $objects[1]), 'Crypt::Twofish2', 'an object that is a name');
is(cipher_with(requireencryption => Text::->can('new') || bless { text => 1 }, 'Text'), 'Crypt::Rijndael',
    'or 1');
is(cipher_with(donotencryptwith => $objects[0]), 'Crypt::Twofish2', 'an object that is a name to avoid');

# A list that changes while it is read.
{
    my @list;
    @list = ('Crypt::Rijndael', (bless { text => 'Crypt::Twofish2' }, 'Shrinks'), ('Crypt::RC6') x 100);
    {
        package Shrinks;
        use overload '""' => sub {
            my $text = $_[0]{text};
            @list = ();
            my @other = map { 'z' x 50 } 1 .. 50;
            return $text;
        }, fallback => 1;
    }
    is(cipher_with(donotencryptwith => \@list), 'Crypt::RC6', 'a list that is emptied while it is read');
}

# The number of descriptors that are open, where that can be seen.
sub descriptors {
    opendir my $dir, '/proc/self/fd' or return -1;
    my @names = readdir $dir;
    return scalar @names;
}

{
    package Dies;
    use overload
        '""'     => sub { die "on purpose\n" },
        '0+'     => sub { die "on purpose\n" },
        'bool'   => sub { die "on purpose\n" },
        fallback => 1;
}
my @all = qw(port password welcome localaddr donotencrypt donotcompress donotencryptwith donotcompresswith
    requireencryption requirepassword allowclasses maxmessage maxdepth highwater maxclients maxhalfopen
    sendtimeout idletimeout negotiationtimeout timeout coalesce host);
my %lists = map { $_ => 1 } qw(donotencryptwith donotcompresswith requireencryption allowclasses);
my %ignored = (client => { map { $_ => 1 } qw(localaddr coalesce welcome) },
    server => { map { $_ => 1 } qw(host timeout requirepassword) });
foreach my $mode (qw(client server)) {
    my %options = $mode eq 'client' ? %to : (mode => 'server', port => '00', localaddr => '127.0.0.1');
    my @wrong;
    my $before = descriptors();
    foreach my $option (@all) {
        foreach my $value (bless({}, 'Dies'), $lists{$option} ? [ 'Crypt::DES', bless {}, 'Dies' ] : ()) {
            next if $ignored{$mode}{$option};
            my $made = eval { Net::EasyTCP->new(%options, $option => $value); 1 };
            push @wrong, "$option: " . ($made ? 'lived' : $@) if $made || $@ ne "on purpose\n";
        }
    }
    is("@wrong", '', "$mode: an option whose reading dies ends new");
    is(descriptors(), $before, 'and leaves no descriptor open');
}

# ---- names ---------------------------------------------------------------------------------------

# Each is warned of once in the life of the process, so these names occur once in this file.
my @warned;
local $SIG{__WARN__} = sub { push @warned, @_ };

sub made_with {
    my @options = @_;
    @warned = ();
    my $server = Net::EasyTCP->new(mode => 'server', port => '00', localaddr => '127.0.0.1', @options);
    ok($server, "a server with $options[0]") or diag $@;
    return @warned;
}

foreach my $case ([ maxmesage => 'maxmessage' ], [ maxxmessage => 'maxmessage' ],
    [ maxmessaeg => 'maxmessage' ],
    [ maxmassaje => 'maxmessage' ], [ MaxClient => 'maxclients' ], [ donotencriptwith => 'donotencryptwith' ],
    [ pasword => 'password' ], [ idletimeuot => 'idletimeout' ]) {
    my ($wrong, $right) = @$case;
    my @got = made_with($wrong => 'x');
    is(scalar @got, 1, "$wrong: one warning");
    like($got[0], qr/^Unknown option '\L$wrong\E': is '$right' meant\? at \Q$0\E line \d+\.$/,
        'which says what is meant');
    is(join('', made_with($wrong => 'y')), '', 'but no second one');
}
foreach my $name (
    qw(colour username _maxmessag _x x log donotcheckversion DoNotCheckVersion idle database logger),
    'm' x 200, "\x{e4}\x{263a}",
) {
    @warned = ();
    ok(Net::EasyTCP->new(mode => 'server', port => '00', localaddr => '127.0.0.1', $name => 1),
        'a server with a name of its own');
    is("@warned", '', 'nothing is said of that');
}
@warned = ();
{
    no warnings 'Net::EasyTCP';
    Net::EasyTCP->new(mode => 'server', port => '00', localaddr => '127.0.0.1', welcom => 1);
    is("@warned", '', 'warnings may be switched off');
}
is(scalar(my @now = made_with(welcom => 1)), 1, 'which does not use them up');
{
    use warnings FATAL => 'Net::EasyTCP';
    ok(!eval { Net::EasyTCP->new(mode => 'server', port => '00', highwatre => 5); 1 }, 'or made fatal');
    like($@, qr/^Unknown option 'highwatre': is 'highwater' meant/, 'with their text');
}
{
    package Inherits;
    our @ISA = ('Net::EasyTCP');
    sub new { my ($class, @options) = @_; return $class->SUPER::new(@options) }
}
@warned = ();
ok(Inherits->new(mode => 'server', port => '00', localadr => '127.0.0.1'), 'a subclass');
is("@warned", "Unknown option 'localadr': is 'localaddr' meant? at $0 line @{[ __LINE__ - 1 ]}.\n",
    'its caller is told');

my ($server) = new_server();
@warned = ();
is($server->setcallback(conect => sub { }, dta => sub { }, idle => sub { }, _data => sub { }), 1,
    'setcallback with wrong names');
my $line = __LINE__ - 2;
is_deeply(\@warned, [ map { "Unknown callback '$_->[0]': is '$_->[1]' meant? at $0 line $line.\n" }
    [ conect => 'connect' ], [ dta => 'data' ] ], 'warns of two of them');
ok($server->{_callbacks}{conect}, 'and lists them all');
@warned = ();
$server->setcallback(conect => sub { });
is("@warned", '', 'once');

@warned = ();
is(cipher_with(donotencryptwith => [ 'Crypt::IDEA', 'Crypt::Rijndael' ],
    donotcompresswith => 'Compress::Bzip2'), 'Crypt::Twofish2',
    'modules that are unknown');
is_deeply([ sort @warned ], [ map {
    "$_ at $0 line 17.\n" } "donotcompresswith names the unknown module 'Compress::Bzip2'",
    "donotencryptwith names the unknown module 'Crypt::IDEA'" ], 'are warned of');
@warned = ();
cipher_with(donotencryptwith => ['Crypt::IDEA']);
is("@warned", '', 'once');

# ---- texts that C would cut ----------------------------------------------------------------------

my @server = (mode => 'server', port => '00');
foreach my $case ([ %to, host => "127.0.0.1\0.example.com" ], [ %to, port => "$echo->{port}\0" ],
    [ %to, tlsname => "localhost\0" ], [ @server, localaddr => "127.0.0.1\0.1" ],
    [ @server, welcome => "Hello\0\0" ], [ @server, tls => "direct\0" ], [ @server, tlskey => "t/data\0" ],
    [ mode => 'server', path => "t/data/socket\0" ]) {
    my $name = $case->[-2];
    is(Net::EasyTCP->new(@$case), undef, "$name with a NUL");
    is($@, "Invalid $name", 'is refused');
}

$echo->kill('TERM');
done_testing();
