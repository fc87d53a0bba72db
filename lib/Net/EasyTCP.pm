package Net::EasyTCP;

use 5.008009;
use strict;
use warnings;
use warnings::register;

# The packages below a symbol table.
sub _packages {
    my ($prefix, $table) = @_;
    my @names = map { /\A(.+)::\z/s && $1 ne 'main' ? "$prefix$1" : () } keys %$table;
    no strict 'refs';
    return map { ($_, _packages("$_\::", \%{"$_\::"})) } @names;
}

# What is here before the modules below are. Objects of classes that only they bring are never made of
# what the network says.
my %before;
BEGIN { %before = map { $_ => 1 } _packages('', \%main::) }

use Exporter ();
use IO::Select ();
use IO::Socket ();
use Storable ();
use XSLoader ();

our ($VERSION, @ISA, @EXPORT, $PACKETSIZE, $_SERIAL);
our (%_COMPRESS_AVAILABLE, %_ENCRYPT_AVAILABLE, %_MISC_AVAILABLE);

BEGIN {
    $VERSION    = '1.10';
    @ISA        = qw(Exporter);
    @EXPORT     = ();
    $PACKETSIZE = 4096;
}

XSLoader::load('Net::EasyTCP', $VERSION);

# The last of these are loaded when they are needed.
our %_BROUGHT = map { $_ => 1 } __PACKAGE__, grep { !$before{$_} } _packages('', \%main::),
    map({ "Net::EasyTCP::$_" } qw(Attach Attach::Watch Inherit Rooms)), 'IO::Socket::IP';
undef %before;

# The tables of 0.26, for scripts that look into them. Everything listed is built in.
%_COMPRESS_AVAILABLE = (_order => []);
for (_codecs('compress')) {
    my ($key, $name, $version) = split / /;
    push @{ $_COMPRESS_AVAILABLE{_order} }, $key;
    $_COMPRESS_AVAILABLE{$key} = { name => $name, version => $version };
}
%_ENCRYPT_AVAILABLE = (_order => []);
for (_codecs('encrypt')) {
    my ($key, $name, $version, $cbc, $merges) = split / /;
    push @{ $_ENCRYPT_AVAILABLE{_order} }, $key;
    $_ENCRYPT_AVAILABLE{$key} =
      { name => $name, version => $version, cbc => $cbc, mergewithpassword => $merges };
}
%_MISC_AVAILABLE = (_order => []);

sub new {
    my $class = shift;
    my %args;
    while (@_) {
        my ($name, $value) = (shift, shift);
        $args{ lc $name } = $value if defined $name;
    }
    delete @args{qw(_host _port _path _fd)};    # what they are is found out below
    my $self = _build($class, \%args);
    if (!$self && $args{raiseerror}) {
        require Carp;
        Carp::croak($@);
    }
    return $self;
}

sub _build {
    my ($class, $args) = @_;
    my $mode = defined $args->{mode} ? $args->{mode} : '';
    return _build_client($class, $args) if $mode =~ /^c/i;
    return _build_server($class, $args) if $mode =~ /^s/i;
    $@ = "Supplied mode '$mode' unacceptable. Must be either 'client' or 'server'";
    return undef;
}

# Subclasses may have methods of any name, so the functions below are never called as methods.

# What IO::Socket::INET made of an address: "host:port" wins over the port, a service may be followed
# by its number in parentheses, and a port may end with the line feed that it was read with.
sub _set_address {
    my ($args) = @_;
    my ($host, $port) = ($args->{host}, $args->{port});
    if (defined $host && $host =~ /\A([^:]+):([\w()\/]+)\z/) {
        ($host, $port) = ($1, $2);
    }
    chomp $port;
    if ($port =~ /\A(.*)\((\d+)\)\z/) {
        my ($name, $number) = ($1, $2);
        my $known = getservbyname $name, 'tcp';
        $port = defined $known ? $known : $number;
    }
    @$args{ '_host', '_port' } = ($host, $port);
    return;
}

# Where a server listens: the option _fd, _path or _port, or none of them for nowhere. Returns false, with
# the reason in $@.
sub _set_listener {
    my ($args) = @_;
    my $nowhere = defined $args->{listen} && $args->{listen} eq '0';
    my @ways = grep { defined $args->{$_} } 'handle';
    push @ways, 'inherit' if $args->{inherit};
    push @ways, 'listen' if $nowhere;
    push @ways, 'path' if defined $args->{path} && !$args->{port} && !$args->{inherit};
    if (@ways > 1) {
        $@ = "$ways[0] and $ways[1] contradict each other";
        return 0;
    }
    my $way = @ways ? $ways[0] : 'port';
    return 1 if $way eq 'listen';
    if ($way eq 'handle') {
        $args->{_fd} = _fileno($args->{handle});
        return 1 if defined $args->{_fd};
        $@ = 'handle is not a listening socket';
        return 0;
    }
    if ($way eq 'inherit') {
        require Net::EasyTCP::Inherit;
        $args->{_fd} = Net::EasyTCP::Inherit::take($args->{inherit});
        return 1 if defined $args->{_fd};
        if (!$args->{port} && !defined $args->{path}) {
            $@ = 'No socket was inherited';
            return 0;
        }
    }
    if (!$args->{port} && defined $args->{path}) {
        $args->{_path} = $args->{path};
        return 1;
    }
    if (!$args->{port}) {
        $@ = 'Invalid port';
        return 0;
    }
    _set_address($args);
    return 1;
}

# The descriptor of a handle, of an object with such a method, or of a number; undef if it has none.
sub _fileno {
    my ($handle) = @_;
    local $@;
    return int $handle if !ref $handle && ref \$handle ne 'GLOB' && $handle =~ /\A[0-9]{1,9}\z/;
    my $fd = eval { fileno $handle };
    $fd = eval { $handle->fileno } if !defined $fd && ref $handle;
    return defined $fd && $fd =~ /\A[0-9]+\z/ ? $fd : undef;
}

sub _build_client {
    my ($class, $args) = @_;
    $class = ref $class if ref $class;
    if ($args->{_sock}) {
        my $fd = fileno $args->{_sock};
        if (!defined $fd || !getpeername $args->{_sock}) {
            $@ = 'Error getting peername';
            return undef;
        }
        my $self = _new_wrapped($class, $args, $fd) or return undef;
        _handle($self, $args->{_sock});
        return $self;
    }
    if (defined $args->{handle}) {
        return undef if !_set_connected($args);
        return _new_client($class, $args);
    }
    if (defined $args->{path} && !$args->{host} && !$args->{port}) {
        $args->{_path} = $args->{path};
        return _new_client($class, $args);
    }
    if (!$args->{host}) {
        $@ = 'Invalid host';
        return undef;
    }
    if (!$args->{port}) {
        $@ = 'Invalid port';
        return undef;
    }
    _set_address($args);
    return _new_client($class, $args);
}

# The connection that a client negotiates on: the option _fd. Returns false, with the reason in $@.
sub _set_connected {
    my ($args) = @_;
    $args->{_fd} = _fileno($args->{handle});
    return 1 if defined $args->{_fd} && !$args->{reconnect};
    $@ = $args->{reconnect}
        ? 'handle and reconnect contradict each other'
        : 'handle is not a connected socket';
    return 0;
}

sub _build_server {
    my ($class, $args) = @_;
    bless {}, $class if ref $class;    # dies: a server is made from a class name
    delete $args->{host};
    _set_listener($args) or return undef;
    my $self = _new_server($class, $args) or return undef;
    _make_handle($self);
    return $self;
}

# A Perl handle on a duplicate of the descriptor, so that neither side can pull it from under the other.
sub _make_handle {
    my $self = shift;
    local ($!, $@);
    my $fd    = _dup_fd($self);
    my $class = 'IO::Socket::INET';
    return undef if !defined $fd;
    my $is_server = $self->{_mode} && $self->{_mode} eq 'server';
    my $ip = $is_server ? localip($self) : $self->{_remoteip};
    if (defined $ip && $ip eq 'unix') {
        require IO::Socket::UNIX;
        $class = 'IO::Socket::UNIX';
    }
    elsif (defined $ip && $ip =~ /:/ && !$is_server) {
        $class = eval { require IO::Socket::IP; 1 } ? 'IO::Socket::IP' : 'IO::Socket';
    }
    my $handle = $class->new_from_fd($fd, '+<') or return undef;
    $handle->autoflush(1);
    return _handle($self, $handle);
}

sub adopt {
    my $self   = shift;    # kept first: reading what follows may drop the object
    my $handle = shift;
    my $fd     = defined $handle ? _fileno($handle) : undef;
    return _adopt($self, defined $fd ? $fd : -1);
}

# Warnings tell the caller's caller, each of them once: the programs that they are for may be servers.
my %warned;

sub _warn_once {
    my $text = shift;
    warnings::warn($text) if warnings::enabled() && !$warned{$text}++;
    return;
}

sub joinroom {
    require Net::EasyTCP::Rooms;
    return Net::EasyTCP::Rooms::join_rooms(@_);
}

sub leaveroom {
    require Net::EasyTCP::Rooms;
    return Net::EasyTCP::Rooms::leave_rooms(@_);
}

# Lists, and their numbers in scalar context.
sub rooms {
    require Net::EasyTCP::Rooms;
    my @names = Net::EasyTCP::Rooms::rooms_of(@_);
    return @names;
}

sub room {
    require Net::EasyTCP::Rooms;
    my @clients = Net::EasyTCP::Rooms::members(@_);
    return @clients;
}

sub attach {
    require Net::EasyTCP::Attach;
    return Net::EasyTCP::Attach::attach(@_);
}

sub detach {
    require Net::EasyTCP::Attach;
    return Net::EasyTCP::Attach::detach(@_);
}

# Promises, of the kind that the program's loop has.

sub request_p {
    my ($self, $data, @options) = @_;
    return _failed($self, 'Mojo::Promise is not installed') if !_is_there('Mojo/Promise.pm');
    my $promise = Mojo::Promise->new;
    my $done = sub { defined $_[1] ? $promise->reject($_[1]) : $promise->resolve($_[0]) };
    my $sent = request($self, $data, $done, @options);
    $promise->reject($@) if !$sent;
    return $promise;
}

sub request_f {
    my ($self, $data, @options) = @_;
    return _failed($self, 'Future is not installed') if !_is_there('Future.pm');
    my $future = _new_future($self);
    my $sent = request($self, $data, sub {
        return if $future->is_ready;    # cancelled
        defined $_[1] ? $future->fail($_[1], 'easytcp') : $future->done($_[0]);
    }, @options);
    $future->fail($@, 'easytcp') if !$sent;
    return $future;
}

sub _is_there {
    my ($file) = @_;
    local $@;
    return eval { require $file; 1 };
}

# How a method that is written in Perl ends when it failed, with the reason in $@, or given.
sub _failed {
    my ($object, $text) = @_;
    $@ = $text if defined $text;
    return undef if !_raises($object);
    require Carp;
    Carp::croak($@);
}

# One that can wait, if the client is attached to a loop that makes such.
sub _new_future {
    my ($self) = @_;
    my $owner = _loop($self);
    my $attachment = $owner && _attachment($owner, 'request_f');
    my $loop = $attachment && $attachment->{loop};
    return $loop && $loop->can('new_future') ? $loop->new_future : Future->new;
}

# Whether the name of a property in a regular expression is one of Unicode's. Those of the program begin
# with In or Is, or name a package.
sub _is_unicode_property {
    my ($name) = @_;
    return 0 if $name =~ /::|'/;
    return 0 if $name =~ /[=:]\s*[^\w\s+-]/;    # a pattern, which all values are tried with
    return 1 if $name =~ /[=:]/ || $name !~ /\A[\s^]*I([ns])[-_\s]*(.*)\z/is;
    my ($kind, $rest) = (lc $1, $2);
    return 0 if $rest !~ /\A\w[\w\s-]*\z/ || $rest =~ /\AI[ns]/i;
    no strict 'refs';
    return 0 if $name =~ /(\w+)/ && (defined &{"main::$1"} || defined &$1);
    my $alias = $kind eq 's' ? $rest : "Blk=$rest";
    return eval { 'x' =~ /\p{$alias}/; 1 } ? 1 : 0;
}

# A regular expression from the network. Properties of the program are subroutines of it. The character
# behind \c may be a backslash, which begins nothing then.
sub _expression {
    my ($pattern, $modifiers) = @_;
    local $SIG{__WARN__} = sub { };
    local $SIG{__DIE__};
    $modifiers =~ /\A[msixpdualn]*\z/ or die "regexp flags invalid\n";
    die "too many parentheses\n" if ($pattern =~ tr/(//) > 2000;    # the C stack of older perls bears no more
    while ($pattern =~ /\\(?:[pP]\s*\{([^}]*)|c.|.)/gs) {
        die "property $1 is not Unicode's\n" if defined $1 && !_is_unicode_property($1);
    }
    my $expression = eval "qr/\$pattern/$modifiers";
    die $@ if !ref $expression;
    return $expression;
}

# A callback that leaves itself by next or last, which needs a block to leave.
sub _within_block {
    my $code = shift;
    return sub {
        { &$code }
    };
}

*callback = \&setcallback;

1;
__END__

=encoding utf8

=head1 NAME

Net::EasyTCP - TCP servers and clients that exchange messages, with compression and encryption built in

=head1 SYNOPSIS

A server that sends everything back:

    use Net::EasyTCP;

    my $server = Net::EasyTCP->new(
        mode => 'server',
        port => 2345,
    ) or die "Cannot create server: $@\n";

    $server->setcallback(
        connect    => sub { my $client = shift; print "Hello, ", $client->serial, "\n" },
        disconnect => sub { my $client = shift; print "Goodbye, ", $client->serial, "\n" },
        data       => sub {
            my $client  = shift;
            my $message = $client->data;
            eval { $client->send($message) } or warn "Cannot answer: $@\n";
        },
    ) or die "Cannot set callbacks: $@\n";

    $server->start or die "Server failed: $@\n";

A client for it:

    use Net::EasyTCP;

    my $client = Net::EasyTCP->new(
        mode => 'client',
        host => 'localhost',
        port => 2345,
    ) or die "Cannot connect: $@\n";

    $client->send("a string") or die "Cannot send: $@\n";
    my $echo = $client->receive;
    defined $echo or die "Cannot receive: $@\n";

    $client->send({ any => ['structure'] }) or die "Cannot send: $@\n";
    my $copy = $client->receive;
    defined $copy or die "Cannot receive: $@\n";
    print $copy->{any}[0], "\n";

    $client->close;

The strings C<""> and C<"0"> are messages like any other, and false: ask whether what C<receive> returns is
defined. In a server, C<eval> around C<send> keeps one message that cannot be sent from ending the service for
everybody.

Nobody else may take part: a password at both ends, and TLS whatever happens.

    my @secure = (password => $password, requireencryption => 'TLS');
    my $server = Net::EasyTCP->new(mode => 'server', port => 2345, @secure)
        or die "Cannot create server: $@\n";
    my $client = Net::EasyTCP->new(mode => 'client', host => 'localhost', port => 2345, @secure)
        or die "Cannot connect: $@\n";

=head1 DESCRIPTION

Net::EasyTCP turns a TCP connection into a channel for messages. What one end gives to L</send> arrives
at the other end as one message, whether it was a string of any bytes and any length or a reference to a
structure. The program at the other end is the I<peer>. What the two say before the first message is the
I<negotiation>: they agree on a compressor, and check a password if the server has one. Two ends of version
1.10 or later speak TLS 1.3 without being told to; an older one gets the best cipher that it knows. See
L</SECURITY>.

Version 1 is a new implementation, in C, of the module that Mina Naguib published from 2002 to 2004. It
has the same interface and speaks the same protocol: programs written for any earlier release run
unchanged, and connect to peers that still use one (0.02 to 0.26). What changes for them is told in
L<Net::EasyTCP::Upgrading>. Complete programs to start from are in L<Net::EasyTCP::Cookbook>, and the protocol
is described in L<Net::EasyTCP::Protocol>.

No other CPAN module is needed, neither for compression nor for any of the ciphers.

A method that fails leaves a text in C<$@>. C<$@> is emptied when C<new> succeeds, and when C<send> or
C<receive> do on a connection that is compressed or encrypted; otherwise success leaves it alone, as it always
did.

=head1 OBJECTS

There are three kinds:

=over

=item Servers [S]

C<< new(mode => 'server') >> makes one. It listens, accepts, and calls the program back from its loop.

=item Clients [C]

C<< new(mode => 'client') >> makes one: a connection to a server. The program calls C<send> and C<receive>.
With C<async> it is one of the clients [A] that call the program back, and never wait: see L</Clients with
callbacks>.

=item Hybrid objects [H]

The server makes one for each client that connects, and gives it to the callbacks. It is the server's end of
that connection: a client in all but the way it was made.

=back

A server closes its socket and its connections when its last reference goes, except connections whose
hybrid objects the program holds: these go on as clients do. Any other object closes its connection when
its last reference goes. What was sent before still arrives, as after L</close>: this may take a while, at
most a minute. Handlers of signals cannot run meanwhile; a signal with a handler ends the wait.

All objects are hashes: a program may keep its own entries in them. Names that begin with an underscore
belong to the module. One connection is the same object in all callbacks, and in C<clients>.

=head1 CONSTRUCTOR

=head2 new

    my $object = Net::EasyTCP->new(%options);

Makes a server or connects to one. Returns the object, or C<undef> with the reason in C<$@>. The
names of options may be written in any letter case. Names that are not known are ignored, since
subclasses have options of their own. One that is within two letters of a known name (one, if it has only
three), and does not begin with an underscore, is warned of once; C<no warnings 'Net::EasyTCP'> turns that
off. A limit that is not a number, or is below what makes sense, is an error: it does not become another
limit.

    option               of   default          what it is for
    -------------------  ---  ---------------  -------------------------------------------------
    mode                 S C  required         "server" or "client"
    port                 S C  required, or     where to listen; where to connect to
    path                 S C    one of these   the same on this host: a Unix-domain socket
    handle               S C                   a socket that listens, or is connected, already
    inherit              S                     the same, from whoever started the program
    listen               S    not 0            0: nowhere
    host                   C  required         the server's name or address
    async                  C  no               callbacks and a loop, nothing waits
    loop                   C  its own          whose loop to be in, with async
    reconnect              C  no               connect again by itself, with async
    localaddr            S    every IPv4       the address to listen on
    reuseport            S    no               several servers at one port
    pathmode             S    by the umask     permissions of path
    password             S C  none             who may connect
    requirepassword        C  see there        refuse servers that do not ask for it
    requireencryption    S C  no               refuse connections without TLS or a cipher
    tls                  S C  "upgrade"        or "direct": TLS from the first byte
    tlscert, tlskey      S C  made in new      a certificate and its key
    tlsca                S C  none             whose certificates are accepted
    tlsfingerprint       S C  none             the only key that is accepted
    tlsknownhosts          C  none             where keys of servers are noted
    tlsname                C  host             the name in the certificate
    tlsgroups            S C  OpenSSL's        key exchanges
    donotencrypt         S C  no               agree on no cipher
    donotencryptwith     S C  none             ciphers not to use
    compress             S C  "auto"           which messages to compress
    donotcompress        S C  no               agree on no compressor
    donotcompresswith    S C  none             compressors not to use
    allowclasses         S C  "all"            the objects that may arrive
    maxmessage           S C  1 GiB            the largest message
    maxbuffered          S C  1 GiB            unfinished and unread, of all connections
    maxdepth             S C  10000            the deepest structure
    timeout                C  30 s             to connect
    negotiationtimeout   S C  45 s, C: 90 s    to agree on everything
    sendtimeout          S C  300 s            for a peer that does not read
    proxyfrom            S    none             proxies that say whom they stand for
    idletimeout          S    0: never         for a client that sends nothing
    keepalive            S C  0: never         silence before asking whether the machine is there
    maxclients           S    0: no limit      clients at a time
    maxclientsperip      S    0: no limit      connections from one address
    maxhalfopen          S    1024             unfinished negotiations at a time
    highwater            S C  64 MiB           queued for one peer; a client's with async
    whenfull             S C  "wait"           what happens at highwater; "fail" with async
    coalesce             S    yes              gather small replies
    welcome              S    none             a text for people with telnet
    raiseerror           S C  no               failures die
    donotcheckversion      C  no               nothing any more

A I<server> is ready to accept connections when C<new> returns, and does so as soon as its loop runs
(L</start> or L</do_one_loop>). A I<client> is connected, and has finished the negotiation, when C<new>
returns, unless C<async> is set: see L</Clients with callbacks>.

Options for both:

=over

=item mode

C<server> or C<client>; only the first letter counts. Required.

=item port

The port to listen on or to connect to: a number, the name of a service, or both as in C<"http(80)">, where
the number is for systems that do not know the name. Required, unless C<path> or, on a server, C<handle>,
C<inherit> or C<listen> takes its place. A server that is given C<"00"> lets the system choose (L</port,
localip> tells which).

=item password

On a server: clients must know it. On a client: what the server is given when it asks. The password also
becomes part of the keys of most ciphers. See L</SECURITY> for what it is worth: over TLS all of it counts and
guesses need a connection each; without TLS only its first eight characters are compared.

=item path

The path of a Unix-domain socket, in place of C<port> and C<host>; beside them it means nothing. The address
of its peers is C<unix>, and their port 0. A server replaces a socket that nobody listens at any more, but no
other file, and removes its own when it is dropped or finishes, unless another one is at its place by then.

=item donotcompress, donotencrypt

True: compression or encryption is not offered and not accepted.

=item compress

Which messages to compress, if a compressor was agreed on: C<auto> (the default), C<always> or C<never>.

C<auto> compresses a message if it arrives earlier for it. A connection measures how fast its link carries
bytes, how far messages of that kind shrink, and what that costs on this machine. For every message it takes
what costs least time, from none at all to the best of zlib. On one machine nothing is compressed, behind a
slow link nearly everything. C<always> compresses whatever shrinks, as older releases do: for links that are
paid for by the byte. It contradicts C<donotcompress>, which agrees on no compressor. C<never> sends messages
as they are, and reads compressed ones. If the module was built with libdeflate, that makes zlib's streams
where C<auto> chooses them, in less time; every peer reads them.

=item donotcompresswith, donotencryptwith

The name of a module, or a reference to an array of names, not to be used: see
L</COMPRESSION AND ENCRYPTION>. Names of modules that are not listed there are ignored, with one warning
each.

=item allowclasses

Which objects may arrive inside structures: C<all> (the default, as it always was), C<none>, the name of a
class, or a reference to an array of names. Regular expressions are objects of class C<Regexp>; code
references are refused unless this is C<all>. C<all> leaves out the classes that only this module has brought
into the program, such as C<IO::Socket>. A message with any other object is refused before anything is
made of it: none of the class's code runs, C<DESTROY> included. The module of a class is loaded only if
the class is named here; a message with an object that a class which is not here should make
(C<STORABLE_thaw>) is refused, too. The message keeps its place: L</receive>, or L</data> in the C<data>
callback, which is called as for every message, returns C<undef> with a text in C<$@> that names the class,
and the connection goes on.

=item requireencryption

1: the connection is given up unless TLS or a cipher was agreed, and every message that arrives must be
encrypted. C<TLS>, the name of a cipher, or a reference to an array of names: it must be one of these; peers
that do not speak TLS are refused where it is the only one. Anything else that is true is an error, names that
are not listed in L</COMPRESSION AND ENCRYPTION> included.

=item tls

C<upgrade>, the default: TLS begins where both ends say in their first packets that they speak it. C<direct>:
it begins with the first byte, and nothing else is spoken, so that stunnel, HAProxy and the like may end it
for a server, or begin it for a client. Both ends must be told: a C<direct> client finds no TLS at another
server, and another client waits in vain for the welcome of a C<direct> server. Where such a program stands in
between, a client tells its password only to a server that C<tlsca> or C<tlsfingerprint> proves; what is
behind the program is clear text, and server and client see only each other's options there.

=item tlscert, tlskey

Files with a certificate (a chain, the own one first) and its key, in PEM. C<tlskey> alone: the key is made if
the file does not exist, readable by its owner only, and a certificate is made from it. Without either, a
server makes a new key in C<new>, and a client has none.

=item tlsca

A file with certificates of authorities, in PEM: the peer's certificate must lead to one of them and, on a
client, be for the host (see C<tlsname>). On a server: clients must have such a certificate.

=item tlsfingerprint

The fingerprint of the peer's key, or a reference to an array of them: C<SHA256:> and 64 hexadecimal digits of
the SHA-256 of its SubjectPublicKeyInfo, as L</fingerprint> gives it. Another key is refused. Needs a peer
with C<tlskey> or C<tlscert>, since a key that is made in C<new> is another one each time.

=item tlsgroups

The key exchanges to use, as OpenSSL lists them: C<'X25519:P-256'>. The default is the library's; from OpenSSL
3.5 on it begins with X25519MLKEM768, which withstands quantum computers and takes 2300 bytes more for each
connection.

=item maxmessage

The largest message to accept, in bytes: on the wire, and again after decompression, so that a few
kilobytes cannot become gigabytes. A connection that exceeds it is closed, and C<send> fails for a message
that exceeds it. The default is 1 GiB; a program that knows its messages should set less. Memory is taken for
what has arrived, never for what a peer says will.

=item maxbuffered

How many bytes all connections of the object together may hold of messages that are not complete, are being
decompressed, or were not fetched. The default is 1 GiB, or C<maxmessage> if that is more. When there are
more, the connection that holds most is closed: C<Too many bytes are buffered>. One that holds less than 64
KiB never is. Not counted are messages that were fetched, and what waits to be sent (see C<highwater>). A
message that takes long to decrypt or decompress is worked on by and by, so that a server looks after others
meanwhile.

=item raiseerror

True: methods that would return C<undef> (or 0, for L</setcallback>) with a text in C<$@> die with this text
and the line that called them, C<new> included; but not L</data>, L</clients>, L</clientlist>, L</client> and
L</pending>, when there is nothing. Hybrid objects are like their server.

=item maxdepth

How many references deep a structure that arrives may be: Perl recurses through them to free it. The default
is 10000. A deeper one is refused like one that is damaged.

=item highwater

How many bytes may be queued for a client that does not read before L</send> waits for it, or does what
C<whenfull> says. The default is 64 MiB, so that a slow reader gets its time and a dead one cannot fill the
memory; 0 is no limit. While more than half of it is queued, the server reads nothing from that client: who
asks and does not take the answers stops only itself. For servers, and for clients with C<async>: the C<send>
of other clients always waits until everything is on its way.

=item whenfull

What L</send> does for a client for which more than C<highwater> is queued. With C<'wait'>, the default, it
waits until half of that has left. With C<'fail'> it fails at once, with a text in C<$@>, and nothing is sent.
C<'close'> is the same, and the client is disconnected. A client with C<async> never waits: C<'fail'> is its
default. While C<send> waits, the server does nothing else: a server that sends without being asked, to all
its clients for example, should say C<'fail'> or C<'close'>.

=item sendtimeout

Seconds that a client's C<send> waits for a server that reads nothing at all, and that a server's C<send>
waits in all, even if the client reads a little, before it gives the connection up. A server also gives up a
client whose queue has not become shorter for so long, and a client with C<async> its server. The default is
300, the longest wait of old releases; 0 waits for ever.

=item keepalive

Seconds of silence after which the system asks whether the other machine still is there. Without an answer,
the connection ends when as much time has passed again. The other program need not do anything, and may be
busy for any time. The default, 0, is never: whether a silent peer is alive is not asked.

=item negotiationtimeout

Seconds that the whole negotiation may take, even if the peer sends slowly. 45 on a server and 90 on a client
by default, as with old releases; 0 is no limit.

=back

Options for a client:

=over

=item host

A host name or an IP address, version 4 or 6. Required. In C<"name:1234"> the number takes the place of
C<port>.

=item timeout

Seconds that the TCP connection may take to be made, 30 by default; 0 means the default, too.

=item tlsname

The name in the server's certificate, if it is not C<host>.

=item tlsknownhosts

A file in which the keys of servers are noted when they are met for the first time, as C<host:port
SHA256:...>, and compared afterwards: a server with another key is refused. Made if it does not exist.

A client that is given C<tlsfingerprint>, C<tlsca> or C<tlsknownhosts> speaks nothing but TLS. Of several of
them the first of this order counts.

=item handle

A connected socket, of TCP or of the Unix family, to negotiate on in place of C<host> and C<port>: how to
connect through a proxy, to a name that the loop's resolver looks up, or to the first of many addresses that
answers. It is duplicated, and may be closed. "handle is not a connected socket" otherwise.

=item async

True: the client has callbacks, as servers do, and a loop; neither C<new> nor any other method waits for the
server. See L</Clients with callbacks>.

=item loop

With C<async>: a server, or another client with C<async>, in whose loop this one is to be.

=item reconnect

With C<async>: 1, or a reference to an array of two numbers of seconds. The client connects again after an
attempt has failed, and when the connection is lost; after 0.5 seconds at first, then twice as long each time,
at most 30: or from the first number to the second. Each time is drawn between a half and one and a half of
that, so that a thousand clients that have lost their server do not come back in the same moment. After a
connection has lasted for the longest time it begins anew. A refusal ends it: a wrong password, or less
protection than an option demands; and so does L</close>.

=item requirepassword

True: a server that does not ask for the password is refused.

=item donotcheckversion

Accepted for the sake of old programs; version differences of helper modules no longer matter.

=back

Options for a server:

=over

=item welcome

A text shown in the first packet to whoever connects, meant for people with a telnet program.

=item localaddr

The address to listen on. The default is every IPv4 address; C<::> is every address of both kinds. (The
option C<host> means nothing to a server, as before.)

=item handle

In place of C<port>: a socket that listens already, as a handle or as the number of a descriptor. It is
duplicated, and made non-blocking, as another process may accept from it, too: see L</ONE PORT, MANY
PROCESSES>.

=item inherit

True: in place of C<port>, the first socket that the program which started this one hands to it, by systemd's
protocol (C<LISTEN_FDS>) or that of Server::Starter (C<SERVER_STARTER_PORT>). A text other than 1 is the name
of the one to take: from C<LISTEN_FDNAMES>, or what is on the left of C<=>. Each of them serves one server. If
nothing was inherited, C<port> or C<path> is used, so that one program serves for both.

=item listen

0: the server listens nowhere, and serves what L</adopt> gives to it. Other values mean nothing.

=item pathmode

The permissions of the file at C<path>, as a number or as a text of octal digits such as C<'0600'>. The
default is what the umask leaves.

=item proxyfrom

An address or a reference to an array of addresses, written as for L</addclientip>: proxies whose connections
begin with a header of the PROXY protocol, version 1 or 2, which HAProxy sends with C<send-proxy> or
C<send-proxy-v2>. The client that the header names is whom L</remoteip, remoteport>, L</addclientip> and
C<maxclientsperip> mean; the proxy is L</proxyip>. Nothing is sent before the header has come, which is part
of C<negotiationtimeout>; what is no such header ends the connection, with the kind C<proxy> for the C<error>
callback. A header without an address, as tests of health send it, means the ends of the connection itself: if
there is a list of addresses, the proxy's belongs into it. All other addresses connect without a header, as
ever.

=item reuseport

True: several servers may listen at one port if all of them say so (C<SO_REUSEPORT>), and the system spreads
the connections. It spreads them evenly, and to those who do not answer too: what such a server has not
accepted is lost with it. A shared C<handle> has no such fault.

=item maxclients

The largest number of clients at a time: connections that have finished the negotiation. Further connections
are closed at once, and those whose negotiation ends too late when it does. The default, 0, is no limit but
the system's: at that one, the server waits for descriptors without using processor time.

=item maxclientsperip

The largest number of connections from one IP address, those that negotiate included; further ones are closed
at once. The default, 0, is no limit. Unix-domain sockets are not counted.

=item maxhalfopen

The largest number of connections that have not finished negotiating, 1024 by default; 0 is no limit. Further
ones wait to be accepted, and after five seconds the oldest unfinished negotiation is dropped, so that silent
connections can neither fill the server nor lock others out.

=item idletimeout

Seconds after which a client that sends nothing is disconnected. The default, 0, is never, since silence
is no fault: old clients send nothing to keep a connection alive.

=item coalesce

False: every reply leaves in a write of its own. See L</When messages leave>.

=back

=head1 METHODS

Behind each method stands for which kinds of L<objects|/OBJECTS> it is: B<[S]> servers, B<[C]> clients, B<[A]>
clients with C<async> (which can what clients can), B<[H]> hybrid objects. A method called on the wrong kind
returns C<undef> with a text in C<$@>.

=head2 addclientip

    $server->addclientip(@addresses);    # [S]

Adds to the list of addresses that may connect. While the list is empty, every address may. An address is a
text that must be equal to what L</remoteip, remoteport> returns, or a network such as C<10.0.0.0/8> or
C<2001:db8::/32>. Returns true, or undef for a text with a slash that is no network ("'X' is not an address");
those before it have been added.

=head2 adopt

    $server->adopt($handle) or die $@;    # [S]

Serves a connection that was accepted elsewhere, by Net::Server or inetd for example, as if it had been
accepted here, with its lists and its limits. C<$handle> is a connected stream socket or the number of its
descriptor; it is duplicated: close yours. Returns true, or undef with a text in C<$@>.

=head2 attach

    $server->attach or die $@;          # [S][A]
    $server->attach('EV') or die $@;
    $server->attach($loop) or die $@;

Watches the server in an event loop of another module and calls L</process> when there is work: see
L</EVENT LOOPS>. C<$loop> is a loop object of IO::Async, Mojo::IOLoop, Mojo::Reactor or EV, a Tk widget, or
one of the names EV, AnyEvent, IO::Async, Mojo, POE, Tk, Glib and Event. Without an argument it is the first
of Mojo, EV, IO::Async, POE, Tk, Glib, Event and AnyEvent whose module is loaded.

The loop does not keep the server alive: keep the object, and drop it to end everything. As long as it is
attached, C<start> fails. Returns true, or undef: "No event loop is loaded", "Unknown event loop X", "X cannot
be loaded: ...", "Already attached".

=head2 broadcast

    my $count = $server->broadcast($data, %options)    # [S]
        or die "cannot send: $@";

Sends a message to every client, or to those that the options name: C<to>, a client or a reference to an array
of clients; C<room>, those in a room (L</joinroom, leaveroom>), in place of C<to>; C<except>, the same, to
leave out. It is frozen once, and compressed once for each way of compressing that is in use among them, so
that to many clients it costs a fraction of a loop of L</send>; only encryption is done for each. It never
waits: clients that are closing, and those for whom more than C<highwater> is queued, are left out
(C<whenfull> may close the latter). Names that are not clients of this server do not count, options of other
names are ignored.

Returns the number of clients that took it, C<"0E0"> (zero, but true) if there was none, and C<undef> with a
text in C<$@> if the data cannot be sent at all.

L<Net::EasyTCP::Cluster> does the same for the clients of several processes.

=head2 callback

The same as L</setcallback>.

=head2 clients

    my @clients = $server->clients;    # [S]

The clients whose negotiation is over; in scalar context their number. Without clients it is C<undef>, in
list context too: a loop over C<< $server->clients >> runs once then, with C<undef>. This is as it always was;
L</clientlist> is without that trap.

=head2 clientlist

    my @clients = $server->clientlist;    # [S]
    my $number  = $server->clientlist;

The same clients: without any, the empty list, and 0 in scalar context.

=head2 client

    my $client = $server->client($serial);    # [S]

The client with this L</serial> number, or C<undef> when no such client is connected.

=head2 close

    $client->close;    # [C][H]

Closes the connection. What was sent before still arrives, also when messages of the peer are unread: these
are dropped. Returns true. A server that closes a client gets no C<disconnect> callback for it, and its loop
delivers the rest. Any other object waits until the peer's system has everything, which takes no time unless
the peer is slow, and at most a minute. Where a forked process has the connection too, it is only let go:
the other process may still need it.

=head2 compression

    my $name = $client->compression;    # [C][H]

The name of the compressor that was agreed on, or C<undef>. Which messages go through it is told at the option
C<compress>; two peers from 1.10 on may use another one for some of them.

=head2 data

    my $message = $client->data;    # [C][H]

Takes the oldest message that has arrived: a string, or a reference to a structure. C<undef> when there is
none, or when C<allowclasses> refuses it, with a text in C<$@>. Meant for the C<data> callback. In list
context a second value follows, which is true for every message: C<< print scalar $client->data >>.

=head2 deleteclientip

    $server->deleteclientip(@addresses);    # [S]

Takes addresses off the list of L</addclientip>; networks by any text that means the same. Returns true, or
undef as it does.

=head2 detach

    $server->detach or die $@;    # [S][A]

Ends what C<attach> began. Returns true, or undef: "Not attached".

=head2 disconnect

The same as L</close>.

=head2 do_one_loop

    $server->do_one_loop or die $@;              # [S][A]
    $server->do_one_loop($seconds) or die $@;

Waits up to 10 milliseconds, or up to C<$seconds>, until something happens, handles what is ready, and returns
true, or undef after an error. Where much is ready it returns after some hundredths of a second, and the next
call goes on; a client that has sent many messages waits for the others after 64 of them, or after 10
milliseconds.

=head2 encryption

    my $name = $client->encryption;    # [C][H]

C<TLS>, or the name of the cipher in use, or C<undef>.

=head2 fingerprint

    my $fingerprint = $object->fingerprint;    # [S][C][H]

The fingerprint of the key that this end shows over TLS, for C<tlsfingerprint> at the other end. C<undef> if
it has none.

=head2 finish

    $server->finish;               # [S]
    $server->finish($seconds);

Ends the server in good order. It stops listening at once, and closes its clients one after the other, evenly
spread over C<$seconds> (30 if not given), so that they do not all come back to another server in the same
moment. Each is served until then, and closed when what it was sent is delivered, and not while something of
it waits to be handled; who never stops sending is cut off one second after the time. C<disconnect> is not
called for them. When none is left, the callback C<finished> is called, L</start> returns, and L</running> is
0. Good for C<$SIG{TERM}>. Returns true.

=head2 joinroom, leaveroom

    $client->joinroom(@names) or die $@;    # [H]
    $client->leaveroom(@names);

Enters the client into rooms of its server, or takes it out of them. A room is a name for a set of clients,
which C<broadcast> with C<room> sends to; it is there while somebody is in it. Clients leave all of them when
they are forgotten. Nothing of it is on the wire, and clients do not hear of it: who may join what is for the
program to decide. Return true; C<joinroom> undef for a client that is not connected.

=head2 mode

    my $mode = $object->mode;    # [S][C][H]

C<"server"> or C<"client">; C<"client"> for hybrid objects too.

=head2 peerfingerprint

    my $fingerprint = $client->peerfingerprint;    # [C][H]

The fingerprint of the key that the other end showed over TLS, or C<undef>.

=head2 pending

    while ($client->pending) { my $message = $client->receive; ... }    # [C][H]

1 when a complete message is here already, so that L</receive> would return at once, and 0 when not, also
after C<close>. Programs that C<select> on L</socket> ask this before they wait: several messages may have
come in one piece.

=head2 pollfd

    my $fd = $server->pollfd;     # [S][A]

The number of a descriptor that is readable while L</process> has something to do: a client has sent
something, or can take more; a deadline has passed; or an exception left work behind. It is level-triggered,
and the same as long as the object lives, in forked children too. Never read, write or close it. Undef, with
"No pollable descriptor on this system" in C<$@>, where there is none: see L</polltimeout>.

=head2 pollhandle

    my $handle = $server->pollhandle;    # [S][A]

The same as an L<IO::Handle>, on a descriptor of its own, and always the same handle. Prefer it to C<pollfd>
where the loop takes handles: many loops spin when a descriptor is closed while they watch it, and closing
this one, or dropping the server, leaves the other side alone.

=head2 polltimeout

    my $seconds = $server->polltimeout;    # [S][A]

How many seconds from now C<process> has something to do even if no descriptor becomes ready: 0 means now,
undef never. It is needed only where C<pollfd> returns undef.

=head2 process

    $server->process or die $@;    # [S][A]
    $server->process($seconds) or die $@;

Does what there is to do now, callbacks included. Where there is nothing, it waits up to C<$seconds>, which is
0 if not given. Returns true, or undef after an error. Exceptions of callbacks go through, and nothing is lost
by them.

=head2 port, localip

    my $number = $server->port;    # [S]
    my $text   = $server->localip;

Where the server listens: the port, which the system has chosen if C<port> was C<"00">, and the address.

=head2 proxyip

    my $text = $client->proxyip;    # [C][H]

The address of the proxy (C<proxyfrom>) that the client came by, C<undef> if it is connected itself. Valid
after C<close> too.

=head2 queued

    my $bytes = $client->queued;    # [A][H]

How many bytes were given to L</send> that the system has not taken yet.

=head2 receive

    my $message = $client->receive;             # [C][H]
    my $message = $client->receive($seconds);
    my $message = $client->receive(-1);         # without waiting

Waits for the next message and returns it, or C<undef> with a text in C<$@> when nothing at all arrived for
C<$seconds> (300 by default, and for 0), when the connection ended, or when C<allowclasses> refuses the
message. Hybrid objects may be asked too: a callback can hold a whole conversation. With a negative number, a
deadline that has passed for example, it takes what is here already, and does not wait.

=head2 remoteip, remoteport

    my $text   = $client->remoteip;      # [C][H]
    my $number = $client->remoteport;

The peer's address and port. Valid after C<close> too.

=head2 request, request_p, request_f

    $client->request($data, sub { my ($reply, $text) = @_; ... }) or die $@;    # [A]
    $client->request($data, $code, timeout => $seconds) or die $@;
    my $promise = $client->request_p($data);    # a Mojo::Promise
    my $future  = $client->request_f($data);    # a Future

Sends C<$data>, as L</send> does. The next message that no earlier request has claimed is its reply: the code
is called with it, in place of the C<data> callback. If the connection is lost, cannot be made, or is closed,
the code is called with C<undef> and a text. If the message cannot be sent, C<request> returns C<undef>, with
the text in C<$@>, and the code is not called.

Replies belong to requests by their order alone, and nothing of this shows on the wire. It is right for
servers that answer every message once, in order, and send nothing else; otherwise use C<data>, and numbers of
your own in what you send. Messages that have come before and were not fetched by L</data> would be taken for
replies.

After C<timeout> seconds without a reply the connection is closed, with the text "No reply in time", since a
late reply would be taken for that of the next request; all that wait for a reply fail with it. With
C<reconnect>, requests whose message has not left wait for the next connection.

C<request_p> returns a promise of L<Mojo::Promise>, which must be installed, and C<request_f> a L<Future>,
which is one of the loop's own if the client is attached to a loop of IO::Async. Both take C<timeout> as well,
and are for C<await>, too. They fail with the text. Structures that cannot be frozen are exceptions here, too,
and with C<raiseerror> so is every message that cannot be sent. When the object is dropped, or the one whose
loop it is in, nobody is called, and promises stay as they are.

=head2 room

    my @clients = $server->room($name);    # [S]
    my $number  = $server->room($name);

The clients in a room, in no particular order.

=head2 rooms

    my @names = $client->rooms;    # [H]

The names of the rooms that the client is in, sorted.

=head2 running

    $server->running    # [S][A]

True while L</start> runs, 0 after it returned, C<undef> before. It stays true when an exception leaves
C<start>.

=head2 send

    $client->send($string)     or die $@;    # [C][H]
    $client->send(\%structure) or die $@;

Sends a message: a string of bytes, or a reference to anything that L<Storable> can freeze. Returns true,
or C<undef> with a text in C<$@>. A string with characters beyond 255 is an error: encode it first. Dies as
Storable does when a structure holds something that cannot be frozen, such as code, or when a
C<STORABLE_freeze> method dies; a server that sends what it did not make itself should say
C<eval { $client-E<gt>send($data) } or ...>, which covers both.

What may come in (L</maxdepth>) may go out again, whatever C<$Storable::recursion_limit> says; structures more
than a thousand levels deeper die as with Storable. Scalars with magic, and what C<substr>, C<pos> and their
like refer to, are sent as the value that reading them gives. A tied variable is sent as Storable sends it:
the object behind it.

Numbers arrive as they were sent if the peer is 1.10 or later, too: equal to the last bit, printed alike, and
still numbers; and so do the booleans of perl 5.36. Older peers get what C<Storable::nfreeze> makes: text of
15 digits for what is not whole and for what is beyond 32 bits, and 1 and C<""> for booleans before Storable
3.27. So does every peer with a structure that holds objects with C<STORABLE_freeze>, tied variables,
restricted hashes, regular expressions or code; and numbers that were used as strings count as strings where
perl cannot tell them apart (before 5.36). A number of more than 53 bits arrives as text where Perl's integers
have 32.

=head2 serial

    my $number = $object->serial;    # [S][C][H]

A number that no other object of this process has. Clients of a server are numbered as they connect, other
objects when they are first asked.

=head2 setcallback

    $server->setcallback(connect => \&c, data => \&d, disconnect => \&g, error => \&e,
        drain => \&r, finished => \&f);    # [S][A]

Sets one or more callbacks; see L</CALLBACKS>. Other names are ignored, with one warning if a callback was
probably meant, as for options. Returns true, or 0 with a text in C<$@> if something is not
a code reference.

=head2 socket

    my $handle = $client->socket;    # [C][H]

The L<IO::Socket> handle of the connection, C<undef> after C<close>. Good for C<select> and for socket
options; do not read or write it. It has a descriptor of its own.

=head2 start

    $server->start or die $@;    # [S][A]
    $server->start(\&idle);

Runs the server until L</stop> is called, then returns true. C<idle>, if given, is called with the server
after every loop, which is at least a hundred times a second. Without it, a server with nothing to do
sleeps, five seconds at a time. A signal's handler runs at once; in rare cases up to five seconds late. The
server's socket stays open: C<start> may be called again.

=head2 stats

    my $hash = $object->stats;    # [S][C]

What has been counted so far, as a reference to a new hash of numbers. Counting costs nothing worth
mentioning; asking a server looks at all its clients. C<examples/metrics.pl> shows it to Prometheus. Of
servers and clients:

    messages_in, messages_out    messages
    payload_in, payload_out      their bytes, as they are without compression
    bytes_in, bytes_out          bytes of the connections, with all that is around messages
    queued                       bytes that are sent and wait for a peer to read

Of servers only:

    accepted                     connections that came
    clients                      those that are clients now
    negotiating                  those that may become clients
    closing                      those that are closed, and are being delivered what was sent
    queued_most                  bytes that wait for one of the clients, the one with most of them
    refused_full, refused_address, refused_perip
                                 connections closed because of maxclients, the list of addresses, and
                                 maxclientsperip
    failed_negotiation, failed_password, failed_decode, failed_toobig, failed_proxy, failed_timeout
                                 how often the callback error was called, or would have been, by kind

A process counts its own: the child of a fork begins with what its parent had counted.

=head2 stop

    $server->stop;    # [S][A]

Makes C<start> return when the callback that is running returns. Messages that have come in but were not
handled stay: the next C<start> or C<do_one_loop> goes on with them. Returns true.

=head2 trust

    my $trust = $client->trust;    # [C][H]

Why this end believes, over TLS, that the other one is who it should be: C<password> (it knows the password,
and nobody is in between), C<fingerprint>, C<ca>, C<knownhost>, C<firstuse> (noted now by C<tlsknownhosts>),
or C<undef>: nothing was asked of it.

=head2 watch, unwatch

    $server->watch($handle, sub { my ($server, $handle) = @_; ... }) or die $@;    # [S][A]
    $server->unwatch($handle);

Calls the code, from the object's loop, while C<$handle> has something to read, or has ended: a pipe, a
socket, a C<pollhandle> of another object. A handle or the number of a descriptor will do; a file will not, as
it always has something to read. Watching a handle again replaces the code. Exceptions of the code go through
the loop, as those of callbacks do.

The code is called again and again until it has read, or has said C<unwatch>. It must not wait: now and then
it is called although nothing is there any more.

A watch ends with C<unwatch>, with the handle, when the program closes it, and with the object. The C<close>
of a client ends those that were asked for on it. Until then the handle stays open, though nobody else may
hold it; the object does not, as nothing else keeps it alive. Inside another event loop, say C<unwatch> before
you close a handle: its descriptor stays open until the next C<process>. In a forked child the watch goes on,
for both. C<watch> returns true, or C<undef> with a text in C<$@>. C<unwatch> returns true, whatever was
watched.

=head1 CALLBACKS

Each but C<error> and C<finished> is called with the hybrid object of the client that it is about. Those of
clients are listed in L</Clients with callbacks>.

=over

=item connect

A client has connected and finished its negotiation, password included.

=item data

A message has arrived: fetch it with L</data>. It is called once for each message. What is not fetched
waits in memory until the client has gone.

=item disconnect

The client closed the connection, or it broke. C<clients> still lists it during the callback. A second
argument says why: a text, which is empty if the client closed.

=item error

A client left because of an error, or never came. It is called with the server, a text, the kind of the error,
and the address of the peer; behind these comes the hybrid object if C<connect> was called for it, and then
C<disconnect> has been called already. Kinds are C<negotiation> (it could not be finished), C<password> (a
wrong one, none, or a client too old to have any), C<decode> (what was sent is damaged), C<toobig> (it passes
a limit), C<proxy> (a proxy's header is malformed) and C<timeout>. Who connects and sends nothing, as scanners
of ports and tests of health do, is not told of.

=item drain

All that was queued for this client has left, after it was much: 64 KiB, or C<highwater>.

=item finished

What L</finish> began is over. It is called with the server.

=back

A callback may do anything: close this client or another, stop or drop the server, run a loop inside the loop
(up to about a thousand inside each other), fork, or die. An exception goes through to the caller of C<start>
or C<do_one_loop>; either may be called again, and nothing is lost.

Callbacks have a C<$_> of their own. Other global variables of Perl (C<$/>, C<$\>, C<$,>, C<$|>, C<$!>, C<$@>)
are those of the program: nothing here depends on them, and what a callback changes stays changed. They are
called in void context.

Signal handlers run while the module waits, and an exception in one of them leaves the wait. One that leaves
L</close> has closed the connection; what was still on its way may be lost. Handlers that run at once, as
those of C<POSIX::sigaction>, may leave L</send> in the middle of a message, which nothing can follow: C<send>
fails from then on.

=head2 Clients with callbacks

    my $client = Net::EasyTCP->new(
        mode => 'client', host => '127.0.0.1', port => 2345,
        async => 1, reconnect => 1,
    ) or die $@;
    $client->setcallback(
        connect    => sub { my $client = shift; ... },
        data       => sub { my $client = shift; my $message = $client->data; ... },
        disconnect => sub { my ($client, $text) = @_; ... },
        error      => sub { my ($client, $text, $kind) = @_; ... },
    );
    $client->send('waits until it is connected');
    $client->attach;    # or start, or process

With C<async>, C<new> fails for bad arguments only, and returns before there is a connection. The client has a
loop, in which it connects, negotiates and sends: run it by L</start> or L</process>, or as L</EVENT LOOPS>
says. With C<loop> it is in the loop of a server or of another such client; methods like C<start>, C<process>
and C<pollfd> mean the whole loop then, whichever of its objects they are called on. When the object goes
whose loop it is, the others are closed, and their callbacks are not called.

A name in C<host> is looked up by C<new>, once, which takes as long as the resolver does. Where that is too
long, have the loop look it up and connect, and give the socket to C<handle>:

    use AnyEvent::Socket;
    tcp_connect 'example.org', 2345, sub {
        my ($handle) = @_ or return warn "Cannot connect: $!\n";
        $client = Net::EasyTCP->new(mode => 'client', async => 1, handle => $handle) or return warn $@;
        $client->setcallback(...);
        $client->attach;
    };

=over

=item connect

It has connected, and the server has let it in, with the password if there is one. Called each time with
C<reconnect>.

=item data

As for servers.

=item disconnect

Once for each C<connect>, when the connection ends, unless C<close> ended it: with a text, which is empty if
the server closed.

=item error

An attempt to connect failed: with the text that C<new> would have left in C<$@>, and the kind of the error,
C<connect> or one of those of servers.

=item drain

Everything that was given to C<send> is with the system, after much of it (64 KiB, or C<highwater>) was
queued. For hybrid objects this callback of the server is called.

=back

C<send> returns true when the message is queued. What is sent before there is a connection, or between two of
them, is kept, in order, and leaves with the next, before what the C<connect> callback sends. What had left is
not sent again: after a C<disconnect> some of it may be lost. When more than C<highwater> bytes are queued,
C<send> fails with "Output queue is full"; L</queued> tells how many are. What is kept when there will be no
other connection is dropped. To send much, send until that happens, and go on in C<drain>.

C<close> returns at once: the loop delivers what was sent, but drops what is kept for want of a connection.
When the object goes, what was sent is delivered by its loop, or, if that is its own, as for other clients.

After a fork, a client that is not connected yet connects for itself in the child.

=head2 When messages leave

C<send> hands a message to the system at once, with one exception. While a callback runs for a message and
another whole message of the same client is already waiting behind it, replies to that client are gathered.
This is done only as long as callbacks are quick: less than a tenth of a millisecond. What was gathered leaves
together

=over

=item *

after the last of those messages,

=item *

when 64 KiB are gathered,

=item *

after the callback that ends some milliseconds (10 at most) after the first of them,

=item *

before anything that waits,

=item *

and when the client or the server is closed or dropped, or the process forks.

=back

The option C<coalesce> turns this off.

A server does not wait for a client that reads slowly: up to C<highwater> bytes are queued for it, and
delivered by the loop.

=head1 EVENT LOOPS

A server, or a client with C<async>, lives in any event loop as one descriptor, without a timer: the
descriptor is readable exactly while L</process> has something to do. In short, for all of them:

    $server->attach($loop) or die $@;

Or by hand, for these and for others:

    my $w = EV::io($server->pollhandle, EV::READ, sub { $server->process });

    my $w = AnyEvent->io(fh => $server->pollhandle, poll => 'r', cb => sub { $server->process });

    my $reactor = Mojo::IOLoop->singleton->reactor;
    $reactor->io($server->pollhandle => sub { $server->process })->watch($server->pollhandle, 1, 0);

    $loop->add(IO::Async::Handle->new(
        read_handle   => $server->pollhandle,
        on_read_ready => sub { $server->process },
    ));

    $mainwindow->fileevent($server->pollhandle, readable => sub { $server->process });    # Tk

    my $select = IO::Select->new($server->pollhandle);
    $server->process while $select->can_read;

Several servers and clients have a descriptor each; clients with the option C<loop> share one. Whole programs
are F<examples/select-loop.pl>, F<examples/async-clients.pl>, F<examples/mojo-requests.pl> and
F<examples/io-async-requests.pl>.

Callbacks must not block, as everything else in the loop waits for them. What may block: C<receive>, a
server's C<send> to a client that does not read (unless C<whenfull> says otherwise), the names that C<new>
looks up, the hooks of Storable, and making a pair of Crypt::RSA keys (once an hour, and only for old peers).

What an exception of a callback does is up to the loop, as with its own callbacks. No message is lost by it.
Those that go on print a warning. With C<attach>, Glib goes on, too. What each loop does with descriptors of
any kind, a pipe for example, was found by F<xt/loops-table.pl>, with the modules of Debian 12:

                                a callback that dies:       in a child     closed while
    loop                        the loop                    of fork it     watched: it
    --------------------------  --------------------------  -------------  ---------------------
    EV 4.33                     goes on                     goes on        nothing
    AnyEvent on EV 7.17         goes on                     goes on        nothing
    AnyEvent alone 7.17         leaves; may be run again    goes on        is busy, silently
    Mojo on EV 9.31             goes on                     goes on        nothing
    Mojo alone 9.31             goes on                     goes on        calls again and again
    IO::Async, Epoll 0.22       leaves; may be run again    hears nothing  nothing
    IO::Async, Poll 0.802       leaves; may be run again    goes on        is busy, silently
    IO::Async, Select 0.802     leaves; may be run again    goes on        is busy, silently
    Event 1.28                  goes on                     goes on        nothing
    Glib 1.3293                 goes on, without the watch  goes on        is busy, silently
    Tk 804.036                  leaves; may be run again    goes on        nothing
    POE 1.370                   ends for good               goes on        is busy, silently
    IO::Select 1.49             leaves; may be run again    goes on        is busy, silently

"Busy" is a processor that is used up without a word. A handle that C<attach> or L</pollhandle> gives to a
loop is a duplicate: when its server or client has gone, no loop is busy because of it.

A child of C<fork> has the same descriptor numbers, and its own work behind them. Attach after you have become
a daemon where you can. A loop may need something itself in the child, although a pipe goes on. EV, and so
Mojo and AnyEvent when they use it, needs C<< EV::default_loop->loop_fork >>. POE needs C<<
POE::Kernel->has_forked >>. IO::Async::Loop::Epoll (0.22) forgets all its watches, so that C<detach> and
C<attach> are needed.

What was tried with each (F<t/68-loops.t>; versions of Debian 12), and what it costs: echoes of short
messages on one processor, as fractions of what C<start> reaches (F<bench/loops>), with one message under
way, and with 64. The tests are: echo, an exception in a callback and the rest of that read, C<close> from a
timer of the loop, C<idletimeout> without a timer, a dropped object, daemons before and after the loop has
run; and of clients: echo with this release and with 0.19 and 0.26, a refused port, reconnecting, 10,000
messages with C<drain>, daemons before and after connecting.

    loop                         tests                                  1      64
    ---------------------------  ------------------------------------   ----   ----
    EV 4.33                      all                                    0.9    1.0
    Mojolicious 9.31             all                                    0.8    0.9
    IO::Async 0.802              all (daemons: not on Loop::Epoll)      0.6    0.8
    AnyEvent 7.17 on EV          all
    Event 1.28, Glib 1.329       all
    Tk 804.036                   all
    POE 1.370                    all but exceptions, which end it

=head1 ONE PORT, MANY PROCESSES

A process uses one processor. Several can serve one port: each makes a server of the same listening socket.

    my $socket = IO::Socket::INET->new(LocalPort => 2345, Listen => 4096) or die $@;
    for (1 .. $workers) {
        next if fork;
        my $server = Net::EasyTCP->new(mode => 'server', handle => $socket) or die $@;
        $server->setcallback(data => \&answer) or die $@;
        $SIG{TERM} = sub { $server->finish(20) };
        $server->start or die $@;
        exit;
    }

L<Net::EasyTCP::Scaling> has more of it. Who started them (Server::Starter, Parallel::Prefork, systemd) starts
them anew when they end; C<inherit> takes the socket from it. A server whose listener is shared, by C<handle>,
C<inherit> or a fork, accepts one connection and then leaves the next one to the others for two milliseconds.
So each gets about the same number. Where connections come faster it takes up to eight at a time.

The child of a fork has copies of its parent's objects, and should use or drop them, but not both processes
the same connections.

=head1 COMPRESSION AND ENCRYPTION

Two peers of version 1.10 or later speak TLS 1.3 by OpenSSL, unless C<donotencrypt> or
C<< donotencryptwith => 'TLS' >> is set at either end, or the program has loaded L<threads> when the object is
made and does not require TLS. Otherwise one of the ciphers below is used. Their names are those of the CPAN
modules whose formats are spoken, best first; none of them is needed.

=over

=item Compression

Compress::Zlib, Compress::LZF

=item Encryption, to a peer older than 1.00

Crypt::RSA, Crypt::Rijndael, Crypt::RC6, Crypt::Blowfish, Crypt::DES_EDE3, Crypt::DES, Crypt::Twofish2,
Crypt::Twofish, Crypt::TEA, Crypt::CipherSaber

=item Encryption, between two peers of version 1

Crypt::Rijndael (which is AES with a 256-bit key), Crypt::Twofish2, Crypt::RC6, Crypt::Twofish,
Crypt::Blowfish, Crypt::DES_EDE3, Crypt::TEA, Crypt::CipherSaber, Crypt::DES. Crypt::RSA is never chosen:
its key has 512 bits, which a single rented machine can factor, and it makes messages three times as
long.

=back

A peer without a common cipher or compressor is spoken to in clear text, unless C<requireencryption> is
set. Messages that would not become smaller, or would not arrive earlier, go out uncompressed: see the option
C<compress>.

All but Crypt::RSA and Crypt::CipherSaber derive keys by MD5, which OpenSSL refuses in FIPS mode, and which
is then taken from its default provider in spite of that. Where the policy of the machine forbids this,
too, these ciphers are not offered; if one is required, the error says which call of OpenSSL failed. Where its
policy leaves nothing that TLS can be spoken with, TLS is not offered either; who requires it is told
C<OpenSSL offers no TLS 1.3> by C<new>.

=head2 Releases of OpenSSL

Programs need not know which release is there. Where they differ, without a configuration and as Debian builds
them, was found by F<xt/openssl-table.pl>, which runs each:

    OpenSSL                   1.1.1w          3.0.22          3.5.9           3.6.5           4.0.3
    ------------------------  --------------  --------------  --------------  --------------  --------------
    AES-256-CBC, MD5          yes             yes             yes             yes             yes
    DES-EDE3-CBC              yes             yes             yes             yes             yes
    DES-CBC, BF-CBC, RC4      yes             no              no              no              no
    RSA of 512 bits           yes             yes             yes             yes             yes
    certificate compression   no              no              yes             yes             yes
    security level            1               2               2               2               2
    session tickets           2               2               2               2               2
    first group               X25519          X25519          X25519MLKEM768  X25519MLKEM768  X25519MLKEM768
    ClientHello               220 bytes       230 bytes       1460 bytes      1460 bytes      1460 bytes
    how a cut shows           system call     error of TLS    error of TLS    error of TLS    error of TLS

What OpenSSL has ceased to offer (DES with one key, Blowfish, RC4) is done by other means here, so that old
peers are spoken to with all of them. Releases from 3 on need a library context of this module's own for MD5
in FIPS mode. Certificates are not compressed, and there are no session tickets, whatever the default. The
first group is what a client offers a key for: see C<tlsgroups>. A connection that ends without TLS's farewell
is reported in two ways, and is C<The connection was cut off> either way. 1.1.1 gets no corrections from its
makers since September 2023.

=head1 SECURITY

Two peers of version 1.10 or later speak TLS 1.3: nobody who only reads the traffic learns anything but when
and how much is sent. Who is at the other end is another question, which a password or the server's key
answers. The table says what holds against somebody in the middle, who may change, hold back and answer
everything.

    at the client                    at the server      against a reader  against someone in the middle
    -------------------------------  -----------------  ----------------  ---------------------------------
    nothing                          nothing            TLS               none: TLS can be taken away, and
                                                                          the server be played
    requireencryption => 'TLS'       any                TLS               the server can be played
    password                         password           TLS               found out, unless an old peer is
                                                                          played: see below
    password and                     password and       TLS               secure
      requireencryption => 'TLS'       the same
    tlsfingerprint                   tlskey             TLS               the server is the right one
    tlsca                            tlscert, tlskey    TLS               the server is the right one
    tlsknownhosts                    tlskey             TLS               the same from the second time on
    any of the last three            tlsca or           TLS               both are the right ones
                                     tlsfingerprint

B<With a password, set C<< requireencryption => 'TLS' >> at both ends as soon as both are 1.10.> It is proven
by SPAKE2 (RFC 9382): each connection is worth one guess, all characters count, nothing that crosses the
network can be tested against guesses, and a proof is good for one connection only. Whoever guesses waits: for
each IPv4 address or IPv6 network (/64) eight guesses are free, then the answer to each comes later, by 100
milliseconds at first, twice as long every time, and ten seconds in the end. One is forgiven every ten
seconds, and right ones are not counted. Others at the same address wait, too, but nobody is refused. Without
C<requireencryption> old peers are spoken to, and whoever plays an old server, or takes the offer of TLS away,
gets a hash of the first eight characters. Between two new peers that is found out: a server that offers TLS
marks the salt of that hash, and a client that sees the mark without the offer gives up before it hashes. (A
release from 0.07 to 0.18 draws such a salt by chance, in at most one of 169 connections: a client tries
such a server once more.) A client also remembers for an hour whom its process spoke TLS with, and speaks
nothing less with them.

A client with a password refuses, over TLS, a server that asks for none: C<< requirepassword => 0 >> turns
that off.

Messages are compressed one by one, before they are encrypted. Where a message holds a secret together with
text that somebody else chose, its length tells something of the secret: use two messages, or
C<donotcompress>.

A process that forks keeps its connections until it or the child uses one: whichever does first has it from
then on, and the other one gets C<The TLS connection belongs to another process>. Closing is no use, so that a
child may serve a client while the parent closes its copy. A TLS connection cannot be used in another thread.

=head2 A server and a client with a password

To copy: this withstands somebody in the middle, and everybody who does not know the password. It is read
from a file that only the user of the program can read. An empty password asks for nothing, so that the
program must not go on with one; C<allowclasses> keeps out objects, which neither of them needs. The server:

    use strict;
    use warnings;
    use Net::EasyTCP;

    my $server = Net::EasyTCP->new(
        mode              => 'server',
        port              => 2345,
        password          => password('/etc/echo/password'),
        requireencryption => 'TLS',
        allowclasses      => 'none',
    ) or die "Cannot create server: $@\n";

    $server->setcallback(
        data => sub {
            my $client = shift;
            my $text   = $client->data;
            $client->send("Got: $text") or warn "Cannot answer: $@\n" if defined $text && !ref $text;
        },
    ) or die "Cannot set callbacks: $@\n";
    $server->start or die "Server failed: $@\n";

    sub password {
        my $file = shift;
        open my $in, '<', $file or die "Cannot read $file: $!\n";
        die "$file can be read by others\n" if (stat $in)[2] & 077;
        my $password = <$in>;
        chomp $password if defined $password;
        return defined $password && length $password ? $password : die "$file is empty\n";
    }

The client, with the same subroutine:

    my $client = Net::EasyTCP->new(
        mode              => 'client',
        host              => 'server.example.com',
        port              => 2345,
        password          => password('/etc/echo/password'),
        requireencryption => 'TLS',
        allowclasses      => 'none',
    ) or die "Cannot connect: $@\n";

    $client->send('hello') or die "Cannot send: $@\n";
    my $answer = $client->receive(30);
    defined $answer or die "Cannot receive: $@\n";
    print "$answer\n";

=head2 Without TLS

The protocol dates from 2002. Its own encryption keeps out a casual reader and no more: without a password the
keys cross the network in clear text, nobody proves who they are, and nothing detects changed messages.

    what is negotiated      against a reader of the traffic   against someone in the middle
    ----------------------  --------------------------------  -----------------------------
    nothing                 none                              none
    a symmetric cipher      none: the key is visible          none
    the same + password     as strong as the password; it     none: messages can be changed,
                            can be guessed without contact    a server can be impersonated
    Crypt::RSA (512 bits)   a day of computing                none

Which symmetric cipher it is matters less than this. With a password, Crypt::DES is the exception: its keys
have 56 bits and can be searched through by anyone who rents a machine for a few days. Crypt::CipherSaber is
RC4, where whoever can change the traffic chooses which bits of a message turn over. The others are sound as
ciphers.

The password itself is compared by DES crypt(3): eight characters of seven bits count.

=head2 Against what peers may do

What this release does about the weaknesses of its predecessors:

=over

=item *

Keys, salts and IVs come from the operating system through OpenSSL's generator. Releases up to 0.26 used
C<rand>: those before 0.15 always (CVE-2002-20002), those from 0.15 on unless Crypt::Random was installed
(CVE-2024-56830).

=item *

Nothing that arrives is evaluated as code. 0.23 to 0.26 evaluated text from the network when Crypt::RSA
was installed, before any password was asked.

=item *

Nothing is thawed before the password was proven. Structures are decoded by a reader with limits of its
own. A message that cannot be decoded ends its own connection and nothing else.

=item *

If encryption of a message fails, C<send> fails. It used to go out in clear text.

=item *

Sizes that a peer claims allocate nothing. Limits bound the size of messages before and after
decompression, the depth of structures, half-finished connections and their time.

=item *

Passwords are compared in constant time, and a client has one try per connection.

=item *

Peers that offer less than is wanted can be refused: C<requireencryption>, with the names of the ciphers
that will do, at either end; C<requirepassword> on a client. A server with a password lets nobody in
without it.

=back

Structures from the network may contain objects, as with every use of Storable. Their classes are those
of your program, and so are the methods C<STORABLE_thaw>, C<STORABLE_attach> and C<DESTROY> that run for
them, and those of ties. If peers are not trusted, set C<allowclasses>.

A structure may refer to itself, as any in Perl. Perl frees such a circle only if the program breaks it,
whether it knows of it or not: peers who send many make its memory grow. Strings have none.

Whatever a peer sends, what comes out is something that Perl itself could have made: every item is checked
before it is built. Values are tied to objects of allowed classes only. Regular expressions may use
Unicode's properties, but none that the program defines, since these are subroutines of it, and none that
a pattern in them looks for (C<\p{Name=/.../}>), which may take for ever. All of a structure together have at
most 32 KiB, at 32 bytes for each and its pattern, because perl may take long to compile them. Class names
have at most 255 bytes and 16 parts. Of classes that the program does not have, it gets at most 1000;
what should be an object of one more is a plain array, hash or scalar, and otherwise as sent. A structure that
would become larger than C<maxmessage> (64 bytes for each value and each key of a hash in it, and its
strings), or than what C<maxbuffered> leaves beside it, is refused: C<Structure too large>.

If a C<STORABLE_thaw> or C<STORABLE_attach> dies, its connection ends, and everything made of the message is
freed; objects of it that hooks have kept are left empty. An exception of a signal handler that runs
meanwhile is not theirs. It goes to the program, as from any other place in it; the message
is decoded again when it is asked for the next time, or by the next turn of the loop. It counts as the hook's
if the hook catches it and dies of something else. While a hook runs, no later message of its connection is
handed out, by whatever loop.

Under C<-T>, everything that came from the peer is tainted: messages, structures with all that is in them
except the keys of hashes, and the slots C<_remoteip> and C<_remoteport>. A tainted C<host>, C<path> or
C<localaddr> is refused as perl's own C<connect> and C<bind> do: C<new> dies. So are C<tlskey> and
C<tlsknownhosts>, files that may be made.

=head1 TROUBLESHOOTING

Every text that may stand in C<$@> is here, with what to do about it. What is in I<italics> varies. Failures
that come from below end in a text of the system, such as I<Connection refused>, or in one of these:

    interrupted by a signal                      a handler ran; call again
    protocol error                               the peer does not speak this protocol, or breaks it
    rejected by the peer                         the password
    payload cannot be decoded                    what was sent is damaged
    malformed PROXY header                       from an address that proxyfrom names
    connection is less protected than demanded   an option requires more
    size limit exceeded                          maxmessage, or a limit of the negotiation
    too much output is queued                    highwater, and whenfull is not "wait"
    encryption or decryption failed              unlike passwords, or changed on the way
    system call failed                           see $!
    timed out                                    one of the times among the options
    connection closed                            by the peer
    invalid argument                             a value that cannot be
    out of memory                                smaller messages, smaller limits
    more bytes needed, success, unknown error    never seen in $@

=head2 new

=over

=item Supplied mode 'I<x>' unacceptable. Must be either 'client' or 'server'

=item Invalid host

=item Invalid port

The option C<mode>, C<host> or C<port> is missing, or 0.

=item Invalid I<option> 'I<value>': must be I<what>

A number out of range, or no number. Nothing is guessed. What it must be is one of these:

    a number of bytes from 1 on                  a number of bytes, or 0 for no limit
    a number from 1 on                           a number, or 0 for no limit
    seconds, or 0 for no limit                   seconds, or 0 for never

=item Invalid I<option> 'I<value>': must be wait, fail or close

=item Invalid I<option> 'I<value>': must be 'auto', 'always' or 'never'

=item Invalid I<option> 'I<value>': must be permissions like 0600

=item Invalid I<option>: must be 1, or a reference to an array of two numbers of seconds

=item Invalid whenfull 'wait': must be fail or close for a client with async

=item Invalid loop: must be a server, or a client with async

=item Invalid I<option>: must be 'all', 'none' or a reference to an array of class names

=item Invalid I<option> 'I<value>': must be 1 for any cipher, the name of one, or a reference to an array of
names

C<whenfull>, C<compress>, C<pathmode>, C<allowclasses>, C<requireencryption> and C<tls> take nothing else.
Names of ciphers are those of L</COMPRESSION AND ENCRYPTION>.

=item compress 'always' and donotcompress contradict each other

=item tls must be 'upgrade' or 'direct'

=item TLS is both required and forbidden

=item tls and donotencrypt contradict each other

=item handle and reconnect contradict each other

=item I<option> and I<option> contradict each other

Leave one of the two options out.

=item handle is not a listening socket

=item handle is not a connected socket

=item No socket was inherited

C<handle> must be a socket after C<listen> on a server, and after C<connect> or C<accept> on a client;
C<inherit> needs somebody who hands one over, or C<port> or C<path>.

=item Invalid I<option> 'I<value>': must be SHA256: and 64 hexadecimal digits

=item I<option>: I<file>: I<reason>

=item 'I<address>' is not an address

C<proxyfrom>, L</addclientip> and L</deleteclientip> take addresses and networks, no names of hosts.

=item tlsgroups: I<name> is not known

=item Could not make a certificate: I<reason>

=item OpenSSL offers no TLS 1.3

What the options that begin with C<tls> name cannot be used, or OpenSSL does without TLS here.

=item Wide character in password

A password with characters beyond 255: encode it first.

=item Invalid welcome

=item Invalid I<option>

A text with a NUL in it, or a C<welcome> of more than 60000 bytes.

=item Could not connect to I<host>:I<port>: I<reason>

=item Could not connect to I<path>: I<reason>

=item Could not connect to server: I<reason>

Nobody listens there, a firewall is between, the name has no address (C<cannot resolve>), or C<timeout> is too
short. Does C<telnet I<host> I<port>> show the welcome text?

=item Could not create listening socket on port I<port>: I<reason>

Another program has the port, or it is below 1024 and you are not root, or C<localaddr> is no address of this
machine: C<cannot resolve I<address> port I<port>>.

=item Error negotiating with server: I<reason>

The connection was made, but what followed failed. Reasons are below, under L</The negotiation>.

=item Error negotiating with server: Client timed out while negotiating with server [I<n>/I<m>] : I<reason>

What listens there is silent, and may be another kind of server; or C<negotiationtimeout> is too short.

=item Error getting peername

The handle in C<_sock> is not connected.

=item Could not make a loop: I<reason>

The system has no descriptor left for it.

=item Mojo::Promise is not installed

=item Future is not installed

Install the module, or do without promises.

=item Could not generate global Crypt::RSA keypairs.

OpenSSL makes no keys of 512 bits here. C<< donotencryptwith => 'Crypt::RSA' >> does without.

=item Out of memory

=back

=head2 The negotiation

A client finds these behind C<Error negotiating with server>; a server's C<error> callback is given them.

=over

=item Server rejected supplied password

=item Server rejected supplied password: none was supplied

=item The client gave a wrong password

=item The client left without proving the password

=item The client is too old to know about passwords

Passwords are not the same at both ends. Clients before 0.07 have none, and can only be let in by a server
without.

=item A password is required, but the server asked for none

C<requirepassword>: the server has no password, or is not the one that you mean.

=item Encryption is required, but none could be agreed on

=item Encryption is required, but none could be agreed on (I<call> of I<cipher> failed: I<reason>)

C<requireencryption>: the peer allows none of these ciphers, or this machine's OpenSSL none, and then its
refusal is named: OpenSSL's own reason, or C<no reason given>.

=item The server offers no TLS

=item The client took no TLS

TLS is required, and the other end is older than 1.10, or must not encrypt.

=item The server spoke TLS before and offers none now: somebody may be in between

=item The salt tells of TLS, but the offer is missing: somebody is in between

Somebody changes what the ends say, or the server was replaced by an older one. One from 0.07 to 0.18 may draw
such a salt by chance, but hardly twice, and it was asked twice. See L</SECURITY>.

=item The server's TLS ends before the server, and nothing proves whose it is: the password is kept

Something between the ends speaks TLS for the server. Say whose key is right, by C<tlsca> or
C<tlsfingerprint>.

=item The server does not know the password

=item The password cannot be used: I<reason>

Over TLS. All characters of a password count there.

=item The I<peer>'s key is not the expected one: I<fingerprint>

=item The I<peer>'s certificate does not verify: I<reason>

=item The server's key changed since I<file> noted it: I<fingerprint>

=item I<file>: I<reason>

=item I<file> cannot be written

C<tlsfingerprint>, C<tlsca> or C<tlsknownhosts>: it is another server, or it has a new key. If that is right,
correct the option, or take the line of this server out of the file.

=item The TLS handshake does not end

=item TLS: I<reason of OpenSSL>

=item TLS: the peer does not speak easytcp/1

=item TLS: the peer's key is unreadable

=item The peer ended TLS: I<reason>

=item A malformed negotiation packet inside TLS

=item Clear text behind the offer of TLS

=item The negotiation was tampered with

The peer does not speak TLS as it should, or somebody in between interferes.

=item Compatability failure: The client and server could not negotiate compatability regarding: I<what>

An old server gave up.

=item Error negotiating with server. No command received.

=item The peer's packets are out of step

=item The negotiation does not end

=item Data before the negotiation was over

=item The client's answer contradicts the offer

=item The client chose I<cipher> but gave no key

=item The peer's key for I<cipher> is unusable

=item The server's salt for the password is unusable

The peer is another kind of program, or has an error of its own. Look at the bytes with
C<examples/wire-watch.pl>.

=item Could not take the server's offer: I<reason>

=item Could not use the peer's key for I<cipher>: I<reason>

=item Could not make a key for I<cipher>: I<reason>

=item Could not make a salt: I<reason>

=item Could not make a negotiation packet: I<reason>

=item Could not make the last negotiation packet: I<reason>

=item Could not merge the password into the keys: I<reason>

Memory is short, or OpenSSL refuses something: is FIPS mode on?

=item negotiation took too long

C<negotiationtimeout> of the server.

=item The client closed the connection during the negotiation

It gave up, for a reason that it knows. Clients that require something from the server do.

=back

=head2 send and broadcast

=over

=item Error sending data: Socket handle not supplied

The connection is closed.

=item Error sending data: Data not supplied

C<undef> cannot be sent. A reference to it can.

=item Error sending data: Wide character in data

Encode strings of text first, with C<Encode::encode> for example.

=item Error sending data: I<reason>

Often C<size limit exceeded>, C<too much output is queued> or C<timed out>: see the options C<maxmessage>,
C<highwater> and C<sendtimeout>.

=item Error writing to socket while sending data: I<reason>

The connection broke.

=item Output queue is full

More than C<highwater> is queued, and C<whenfull> says not to wait.

=item Error sending data: room and to contradict each other

Name one of them.

=item the parent process was still sending when this one was forked

After a C<fork>, the parent goes on sending what it had queued: the child can only read from this connection.

=item Timed out waiting for the peer to read

C<sendtimeout> has passed. The connection is given up.

=item A signal's handler left a message half sent

An exception in a handler that runs at once, as those of C<POSIX::sigaction> do, ended L</send> between two
parts of a large message. Nothing can follow what has left of it: close the connection.

=item Invalid I<option>: must be a client or a reference to an array of clients

C<to> or C<except> of L</broadcast>.

=back

And as exceptions, from structures that cannot be sent:

=over

=item Can't store I<type> items

Code (C<CODE>), globs and handles (C<Can't store GLOB items>).

=item Can't store objects of a class without a name

=item Too late to ignore hooks for storing class "I<class>"

=item Too many references returned by STORABLE_freeze()

=item Freeze cannot return references if I<class> class is using STORABLE_attach

=item Item #I<n> returned by STORABLE_freeze for I<class> is not a reference

The class breaks the rules of L<Storable>.

=item A tied element changed while it was frozen

=item Storable could not freeze the structure

=item Storable writes an unknown format

=back

=head2 receive and data

=over

=item Timed out waiting to receive data

Nothing came for so long. The connection goes on: call C<receive> again. Once the program has closed it, this
is said at once.

=item Socket closed when attempted reading

The peer has closed. This is how conversations end.

=item Failed to read from socket: I<reason>

The connection broke, or one of the following ended it.

=item write: I<reason>

=item poll: I<reason>

=item poller: I<reason>

=item handle: I<reason>

The same, as the callbacks C<disconnect> and C<error> are told of it: the call that failed, or the handle that
somebody else has closed.

=item Received data refused: class I<class> is not allowed

=item Received data refused: code is not allowed

C<allowclasses>. The connection goes on. C<class Regexp is not allowed> means a regular expression.

=item Error decoding received data: I<reason>

The structure cannot be made, and its connection ends. The reason is of one of these forms:

    items nest deeper than N levels                         maxdepth, of which N is the double
    Structure too large                                     maxmessage
    Regular expressions too large                           32 KiB in one structure
    ... at byte N of a Storable image of N                  damage
    class C is not loaded, and not named by allowclasses
    No STORABLE_thaw defined for objects of class C (even after a "require C;")
    STORABLE_attach did not return a C object
    STORABLE_attach called with unexpected references
    Storable binary image is more recent than this Storable
    class C overloads by methods that it does not have
    Cannot restore overloading of package C
    property P is not Unicode's                             a regular expression
    regexp flags invalid                                    the same
    too many parentheses                                    the same, with more than 2000
    Can't eval, please set $Storable::Eval to a true value  code arrives
    Tying is disabled.                                      $Storable::flags
    ... is missing                                          a function of Storable
    what a STORABLE_thaw method died of

=item Error decoding received data: out of memory

=item A message was half decoded

Memory was short, or an exception came in between. The connection ends.

=item Too many bytes are buffered

A limit for all connections together: this one held most of them.

=item Cannot receive while a message is being decoded

C<receive> was called by a C<STORABLE_thaw> method for the connection of its own message.

=item A packet of I<n> bytes exceeds the limit

C<maxmessage>, here or for what was decompressed. The connection ends.

=item A packet could not be decoded: I<reason>

Damage, or passwords that differ behind their eighth character: they are compared by eight, but are part of
the keys as a whole.

=item idle for too long

C<idletimeout>: for the C<error> callback of a server.

=item The connection was cut off

It ended without the farewell of TLS: messages may be missing at its end.

=item The peer renews its keys too often

=item The TLS connection belongs to another process

After a C<fork>, the first process that uses a TLS connection has it. See L</SECURITY>.

=item A TLS connection cannot be used in another thread

=item Failed to read from socket: A TLS connection cannot be used in another thread

A thread has copies of all objects, and that of a TLS connection is closed. Connect in the thread that uses
the connection.

=item An encrypted packet, but no cipher agreed

=item A compressed packet, but no compressor agreed

=item An unencrypted message on an encrypted connection

The peer breaks the protocol, or somebody in between changes what it says.

=back

=head2 start, process and other methods

=over

=item I<kind> cannot use method I<method>()

=item I<kind> cannot call method stop()

=item I<kind> cannot use method request()

=item async client cannot use method receive()

=item I<kind> cannot use method stats()

The method is for another kind of L<object|/OBJECTS>; C<serverclient> is a hybrid one.

=item Net::EasyTCP::I<method>(): not a Net::EasyTCP object

An exception. The object is a copy, or was not made by C<new>.

=item Callback I<name> I<code> does not exist

=item request() needs a code reference

L</setcallback> and L</request> want references to code.

=item start() cannot be used while attached

=item Already attached

=item Not attached

=item No event loop is loaded

=item Unknown event loop I<name>

=item I<module> cannot be loaded: I<reason> (for Tk: C<there is no main window>)

See L</attach>.

=item No pollable descriptor on this system

=item Could not make a pollable descriptor: I<reason>

See L</pollfd>.

=item Error while waiting for connections: I<reason>

The system's C<epoll>, C<kqueue> or C<poll> failed; call again.

=item Too many loops inside each other

A callback runs a loop, whose callbacks run one, and so on, a thousand times: by then, messages come faster
than what the first of them waits for.

=item Invalid seconds 'I<value>': must be between 0 and 86400

The argument of L</finish>.

=item Cannot adopt the connection: I<reason>

See L</adopt>. The reason is one of these, or what is wrong with the socket (C<handle is not a connected
socket>):

    there are maxclients clients
    there are maxclientsperip clients from its address
    its address may not connect
    too many clients are negotiating
    the server finishes

=item Client not connected

L</joinroom, leaveroom>: the client has gone.

=item watch() needs a code reference

=item Cannot watch the handle: I<reason>

The handle is closed or has no descriptor (C<Bad file descriptor>), or is that of a file (C<Operation not
permitted>).

=item The loop of this client is gone

The object that C<loop> named was dropped, or is in another process.

=item Connection closed

=item No reply in time

What a request is told that gets no answer.

=item This thread has no copy of the server: I<reason>

No descriptor or no memory was left when the thread was made.

=back

And as warnings, in the category C<Net::EasyTCP>, each once: C<Unknown> option or callback I<name>C<: is>
'I<other>' C<meant?>, and I<option> C<names the unknown module> 'I<name>'.

=head1 DIFFERENCES FROM 0.26

L<Net::EasyTCP::Upgrading> lists them: what must be changed (next to nothing), what you may notice, and what
gets better.

=head1 TALKING TO OLD PEERS

Old releases have defects of their own that no implementation at the other end can cure. A server
before 1.00 delivers about half of the messages that reach it in one read, and the rest when more bytes
come: a client should not send a second message before the first was answered. Peers from 0.23 on lose
C<"0"> and C<""> if something else sends them compressed or encrypted. A server of 0.07 to 0.17 on a modern
system accepts any password on about half of its connections. Version 0.01 spoke another protocol and is
refused.

=head1 SEE ALSO

L<Net::EasyTCP::Cookbook>, L<Net::EasyTCP::Cluster>, L<Net::EasyTCP::Upgrading>, L<Net::EasyTCP::Protocol>,
L<Storable>, L<IO::Socket>

=head1 AUTHORS

The interface and the protocol are the work of Mina Naguib, who wrote and maintained Net::EasyTCP up to
0.26. Version 1 is a new implementation that contains none of that code.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
