package OldPeer;

# An independent peer that speaks the protocol of the old releases 0.02 ... 0.26, as client and as
# server, so that the tests can meet any of them without having them installed. Written from
# lib/Net/EasyTCP/Protocol.pod; it shares no code with any release and none with the module under test.
#
#   my $peer = OldPeer->client(version => '0.14', port => $port, password => 'x') or die OldPeer->error;
#   my $listener = OldPeer->listener(version => '0.26');
#   my $peer = $listener->accept or die OldPeer->error;
#   $peer->send($scalar_or_reference); my $message = $peer->receive;
#
# Options of client() and listener() (listener options may be given to accept() as well):
#   before_reply       server: code($peer, $tag) called after a command was sent, before the reply is read
#   version            which release to act as (default 0.26)
#   password           may be undef
#   ciphers            list of key letters this peer "has installed"; default: none
#   compressors        the same for compression ('1' zlib); default: none
#   declines           client of 0.23 to 0.26: list of key letters that its options donotencryptwith and
#                      donotcompresswith name: forgotten in EA and CA, heeded in EM, EU, CM and CU
#   module_version     what it says about its modules' versions ("1.00"); differing ones raise EVF/CVF
#   donotcheckversion  ignore EVF, CVF and SVF as the client option did
#   container          'C2' (Crypt::CBC >= 2.17, default) or 'C1' (older ones): what it can write and read
#   chunk              write so many bytes at a time
#   budget             die after so many bytes were written, closing the connection
#   idle               code called instead of waiting, e.g. sub { $server->do_one_loop }
#   on_packet          code($peer, $tag, @fields) called for each negotiation packet before it is
#                      treated; returns undef to go on as usual or the payload to answer with (client),
#                      or true to ignore the reply (server)
#   on_queue           server: code(\@queue) may edit the list of commands before the first is sent
#   lossy              lose "0" and "" as releases >= 0.23 do (default 1)
#   deadline           seconds after which any wait dies (hang guard only; default 60)

use strict;
use IO::Socket::INET;
use IO::Select;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Storable ();

use vars qw($Error);

# Key letter => [ Perl module, length of the key string, raw key size, block size ]
my %CIPHER = (
    'A' => [ 'Crypt::Rijndael',    32, 32, 16 ],
    '7' => [ 'Crypt::Rijndael',    32, 32, 16 ],
    '9' => [ 'Crypt::RC6',         32, 32, 16 ],
    '4' => [ 'Crypt::Blowfish',    56, 56, 8 ],
    '6' => [ 'Crypt::DES_EDE3',    24, 24, 8 ],
    '5' => [ 'Crypt::DES',         8,  8,  8 ],
    'C' => [ 'Crypt::Twofish2',    32, 32, 16 ],
    'D' => [ 'Crypt::Twofish',     32, 16, 16 ],
    'E' => [ 'Crypt::TEA',         16, 16, 8 ],
    '2' => [ 'Crypt::CipherSaber', 32, 0,  0 ],
);
my %COMPRESSOR = ('1' => 'Compress::Zlib', '2' => 'Compress::LZF');

sub error { return $Error }

sub cipher_name { return exists $CIPHER{ $_[-1] } ? $CIPHER{ $_[-1] }[0] : undef }

# Which releases offered which keys, best first. RSA (B) is left out: it is tested elsewhere.
sub _cipher_order {
    my $v = shift;
    return qw(2)             if $v <= 2;
    return qw(6 4 5 2)       if $v == 3;
    return qw(4 6 5 2)       if $v <= 6;
    return qw(7 4 6 5 2)     if $v == 7;
    return qw(A 9 4 6 5 2)   if $v <= 24;
    return qw(A 9 4 6 5 C D E 2);
}

sub _loads {
    my $module = shift;
    return eval "require $module; 1" ? 1 : 0;
}

# The key letters whose modules are really here and that release $version knew.
sub usable_ciphers {
    my ($class, $version) = @_;
    my @usable;
    foreach my $key (_cipher_order(_number(defined $version ? $version : '0.26'))) {
        my $module = $CIPHER{$key}[0];
        next unless _loads($module);
        next if $key ne '2' && !_loads('Crypt::CBC');
        push @usable, $key;
    }
    return @usable;
}

sub usable_compressors { return grep { _loads($COMPRESSOR{$_}) } qw(1 2) }

# Whether crypt() still knows the traditional DES scheme here.
sub has_crypt {
    my $hash = eval { crypt('sesame', 'ab') };
    return defined $hash && $hash =~ m{^ab[./0-9A-Za-z]{11}\z} ? 1 : 0;
}

sub _number {
    my $version = shift;
    $version =~ /^(\d+)\.(\d\d)/ or die "OldPeer: no such version '$version'\n";
    return $1 * 100 + $2;
}

# ---- making one --------------------------------------------------------------------------------

sub _new {
    my ($class, %o) = @_;
    my $self = bless {
        version        => '0.26',
        container      => 'C2',
        module_version => undef,
        lossy          => 1,
        deadline       => 60,
        %o,
    }, $class;
    $self->{v} = _number($self->{version});
    my %has = map { $_ => 1 } @{ $o{ciphers} || [] };
    $self->{has_cipher} = [ grep { $has{$_} } _cipher_order($self->{v}) ];
    my %can = map { $_ => 1 } @{ $o{compressors} || [] };
    $self->{has_compressor} = [ grep { $can{$_} } qw(1 2) ];
    $self->_reset;
    return $self;
}

sub _reset {
    my $self = shift;
    $self->{buffer}  = '';
    $self->{queue}   = [];
    $self->{peer}    = 0;       # the version the other end sent, 0 until then
    $self->{done}    = 0;
    $self->{authenticated} = 0;
    $self->{sent}    = 0;
    $self->{seen}    = [];      # tags received
    $self->{wrote}   = [];      # tags sent
    delete @$self{qw(cipher compressor my_key peer_key scalar salt em_done cm_done fatal error)};
    return;
}

sub client {
    my ($class, %o) = @_;
    my $self = $class->_new(%o);
    $self->{role} = 'client';
    $self->{sock} = $o{sock} || IO::Socket::INET->new(
        PeerAddr => $o{host} || '127.0.0.1',
        PeerPort => $o{port},
        Proto    => 'tcp',
    ) or return _fail("cannot connect: $!");
    setsockopt($self->{sock}, IPPROTO_TCP, TCP_NODELAY, 1);
    return $self if $o{no_negotiation};
    return $self->_guarded(\&_negotiate_client);
}

sub listener {
    my ($class, %o) = @_;
    my $self = $class->_new(%o);
    $self->{role} = 'server';
    $self->{listen} = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1',
        LocalPort => $o{port} || 0,
        Proto     => 'tcp',
        Listen    => 128,
        ReuseAddr => 1,
    ) or return _fail("cannot listen: $!");
    return $self;
}

sub port { return $_[0]{listen}->sockport }

# Waits for one client and negotiates with it. Options override the listener's for this connection.
sub accept {
    my ($self, %o) = @_;
    my $peer = bless { %$self, %o }, ref $self;
    delete $peer->{listen};
    $peer->_reset;
    $peer->{sock} = $self->{listen}->accept or return _fail("cannot accept: $!");
    setsockopt($peer->{sock}, IPPROTO_TCP, TCP_NODELAY, 1);
    return $peer if $peer->{no_negotiation};
    return $peer->_guarded(\&_negotiate_server);
}

sub _fail {
    $Error = shift;
    return;
}

sub _guarded {
    my ($self, $code) = @_;
    my $ok = eval { $code->($self) };
    return $self if $ok;
    chomp(my $why = $@ || 'negotiation failed');
    $self->close;
    return _fail($why);
}

# ---- bytes -------------------------------------------------------------------------------------

sub close {
    my $self = shift;
    close $self->{sock} if $self->{sock};
    $self->{sock} = undef;
    return;
}

sub socket { return $_[0]{sock} }

# Closes with a reset instead of an end of stream.
sub reset_connection {
    my $self = shift;
    setsockopt($self->{sock}, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack('ii', 1, 0));
    return $self->close;
}

sub _wait {
    my ($self, $mode) = @_;
    my $bits = '';
    vec($bits, fileno($self->{sock}), 1) = 1;
    my $until = time + $self->{deadline};
    while (1) {
        my ($r, $w) = $mode eq 'r' ? ($bits, undef) : (undef, $bits);
        my $n = select($r, $w, undef, $self->{idle} ? 0 : 1);
        return if $n > 0;
        die "OldPeer: deadline passed\n" if time > $until;
        $self->{idle}->($self) if $self->{idle};
    }
}

# Sends bytes as they are.
sub raw_send {
    my ($self, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $offset = 0;
    if (defined $self->{budget} && $self->{sent} + length($bytes) > $self->{budget}) {
        $bytes = substr($bytes, 0, $self->{budget} - $self->{sent});
        $self->{cut} = 1;
    }
    while ($offset < length $bytes) {
        my $part = length($bytes) - $offset;
        $part = $self->{chunk} if $self->{chunk} && $part > $self->{chunk};
        $self->_wait('w');
        my $n = syswrite($self->{sock}, $bytes, $part, $offset);
        if (!defined $n) {
            next if $!{EINTR} || $!{EAGAIN};
            die "OldPeer: cannot write: $!\n";
        }
        $offset += $n;
        $self->{sent} += $n;
    }
    die "OldPeer: budget used up\n" if $self->{cut};
    return 1;
}

# One read; false at the end of the stream.
sub _fill {
    my $self = shift;
    $self->_wait('r');
    my $n = sysread($self->{sock}, my $bytes, 4096);
    if (!defined $n) {
        return 1 if $!{EINTR};
        die "OldPeer: cannot read: $!\n";
    }
    $self->{last_read} = $n;
    return 0 if !$n;
    $self->{buffer} .= $bytes;
    return 1;
}

# ---- packets -----------------------------------------------------------------------------------

use constant { ON => 1, COMPLEX => 2, REAL => 4, ENCRYPTED => 8, COMPRESSED => 16 };

sub packet {
    my ($flags, $payload) = @_;
    my $length = pack('N', length $payload);
    $length =~ s/^\0+//;
    return chr($flags) . chr(length $length) . $length . $payload;
}

# The next packet as it came, [flags, payload], without waiting; undef when it is not complete.
sub _cut {
    my $self = shift;
    return if length $self->{buffer} < 2;
    my ($flags, $size) = unpack('CC', $self->{buffer});
    die "OldPeer: lost framing\n" unless $flags & ON;
    return if length $self->{buffer} < 2 + $size;
    my $digits = substr($self->{buffer}, 2, $size > 4 ? 4 : $size);
    my $length = unpack('N', ("\0" x (4 - length $digits)) . $digits);
    return if length $self->{buffer} < 2 + $size + $length;
    my $whole = substr($self->{buffer}, 0, 2 + $size + $length, '');
    $self->{packet_size} = length $whole;
    return [ $flags, substr($whole, 2 + $size) ];
}

# The next packet with its transforms undone; undef at the end of the stream.
sub _next_packet {
    my $self = shift;
    while (1) {
        my $packet = $self->_cut;
        if (!$packet) {
            return unless $self->_fill;
            next;
        }
        my ($flags, $data) = @$packet;
        if ($flags & ENCRYPTED) {
            $data = $self->_open($data);
            next unless defined $data;    # vanishes, as in the old releases
        }
        if ($flags & COMPRESSED) {
            $data = $self->_inflate($data);
            next unless defined $data;
        }
        if ($self->{lossy} && $self->{v} >= 23 && $flags & (ENCRYPTED | COMPRESSED) && !$data) {
            $self->{lost}++;
            next;
        }
        return [ $flags, $data ];
    }
}

sub _transmit {
    my ($self, $flags, $data) = @_;
    if (defined $self->{compressor} && !$self->{donotcompress}) {
        my $smaller = $self->_deflate($data);
        if (defined $smaller && ($self->{v} < 23 || $smaller)) {
            $data = $smaller;
            $flags |= COMPRESSED;
        }
    }
    if (defined $self->{cipher} && defined $self->{peer_key} && length $self->{peer_key}
        && !$self->{donotencrypt}) {
        $data = $self->_seal($data);
        $flags |= ENCRYPTED;
    }
    return $self->raw_send(packet($flags | ON, $data));
}

sub _command {
    my ($self, @fields) = @_;
    push @{ $self->{wrote} }, $fields[0];
    return $self->_transmit(0, join("\0", @fields));
}

# ---- messages ----------------------------------------------------------------------------------

sub send {
    my ($self, $data) = @_;
    return $self->_transmit(REAL | COMPLEX, Storable::nfreeze($data)) if ref $data;
    return $self->_transmit(REAL, $data);
}

# Sends with exactly these flags and no transform.
sub send_plain {
    my ($self, $data, $flags) = @_;
    return $self->raw_send(packet(defined $flags ? $flags : REAL | ON, $data));
}

# The next application message, or undef when the other end closed.
sub receive {
    my $self = shift;
    while (my $packet = $self->_next_packet) {
        my ($flags, $data) = @$packet;
        $self->{flags} = $flags;
        next unless $flags & REAL;
        return $data unless $flags & COMPLEX;
        return Storable::thaw($data);
    }
    return;
}

sub encryption {
    my $self = shift;
    return defined $self->{cipher} ? $CIPHER{ $self->{cipher} }[0] : undef;
}

sub compression {
    my $self = shift;
    return defined $self->{compressor} ? $COMPRESSOR{ $self->{compressor} } : undef;
}

# ---- transforms --------------------------------------------------------------------------------

sub _deflate {
    my ($self, $data) = @_;
    _loads('Compress::Zlib'), return Compress::Zlib::compress($data) if $self->{compressor} eq '1';
    _loads('Compress::LZF');
    return Compress::LZF::compress($data);
}

sub _inflate {
    my ($self, $data) = @_;
    return unless defined $self->{compressor};
    _loads('Compress::Zlib'), return Compress::Zlib::uncompress($data)
        if $self->{compressor} eq '1';
    _loads('Compress::LZF');
    return Compress::LZF::decompress($data);
}

# The password takes the place of the first characters of a key once a connection is authenticated.
sub _effective_key {
    my ($self, $key) = @_;
    return $key unless $self->{done} && $self->{authenticated};
    return $key unless $self->{v} >= 15 && $self->{peer} >= 0.15 && defined $self->{password};
    (my $clean = $self->{password}) =~ tr/A-Za-z0-9//cd;
    return substr($clean . substr($key, length($clean) < length($key) ? length $clean : length $key),
        0, length $key);
}

sub _seal {
    my ($self, $data) = @_;
    return _encrypt($self, $self->{cipher}, $self->_effective_key($self->{peer_key}), $data);
}

sub _open {
    my ($self, $data) = @_;
    return unless defined $self->{cipher} && defined $self->{my_key};
    return _decrypt($self, $self->{cipher}, $self->_effective_key($self->{my_key}), $data);
}

sub _encrypt {
    my ($self, $letter, $key, $data) = @_;
    my ($module) = @{ $CIPHER{$letter} };
    _loads($module) or die "OldPeer: no $module\n";
    if ($letter eq '2') {
        return Crypt::CipherSaber->new($key)->encrypt($data);
    }
    return _bare_cbc($letter, $key, $data, 1) if $self->{v} == 3;
    return _own_cbc_encrypt($letter, $key, $data) if $self->{container} eq 'C1';
    return _real_cbc($module, $key)->encrypt($data);
}

sub _decrypt {
    my ($self, $letter, $key, $data) = @_;
    my ($module) = @{ $CIPHER{$letter} };
    _loads($module) or die "OldPeer: no $module\n";
    if ($letter eq '2') {
        return Crypt::CipherSaber->new($key)->decrypt($data);
    }
    return _bare_cbc($letter, $key, $data, 0) if $self->{v} == 3;
    my $magic = substr($data, 0, 8);
    if ($self->{container} eq 'C1') {
        # These took any first 16 bytes for header and initialisation vector.
        return $magic eq 'RandomIV' ? _own_cbc_decrypt($letter, $key, $data) : "\1garbage\1";
    }
    die "OldPeer: killed by a message without Salted__\n" if $magic ne 'Salted__';
    return _real_cbc($module, $key)->decrypt($data);
}

sub _real_cbc {
    my ($module, $key) = @_;
    require Crypt::CBC;
    my @newer = $Crypt::CBC::VERSION >= 3 ? (-pbkdf => 'opensslv1', -nodeprecate => 1) : ();
    return Crypt::CBC->new(-key => $key, -cipher => $module, -header => 'salt', @newer);
}

# The container of Crypt::CBC <= 2.16: "RandomIV", eight bytes, blocks; keys stretched by plain MD5.
sub _old_key {
    my ($letter, $key) = @_;
    require Digest::MD5;
    my $size = $CIPHER{$letter}[2];
    my $material = Digest::MD5::md5($key);
    $material .= Digest::MD5::md5($material) while length $material < $size;
    return substr($material, 0, $size);
}

sub _own_cbc_encrypt {
    my ($letter, $key, $data) = @_;
    my ($module, undef, undef, $block) = @{ $CIPHER{$letter} };
    my $cipher = $module->new(_old_key($letter, $key));
    my $iv = join '', map { chr int rand 256 } 1 .. 8;
    my $pad = $block - length($data) % $block;
    $data .= chr($pad) x $pad;
    my $last = $iv . "\0" x ($block - 8);
    my $out = 'RandomIV' . $iv;
    for (my $at = 0; $at < length $data; $at += $block) {
        $last = $cipher->encrypt(substr($data, $at, $block) ^ $last);
        $out .= $last;
    }
    return $out;
}

sub _own_cbc_decrypt {
    my ($letter, $key, $data) = @_;
    my ($module, undef, undef, $block) = @{ $CIPHER{$letter} };
    my $cipher = $module->new(_old_key($letter, $key));
    my $last = substr($data, 8, 8) . "\0" x ($block - 8);
    my $out = '';
    for (my $at = 16; $at + $block <= length $data; $at += $block) {
        my $here = substr($data, $at, $block);
        $out .= $cipher->decrypt($here) ^ $last;
        $last = $here;
    }
    return unless length $out;
    my $pad = ord substr($out, -1);
    return $pad && $pad <= $block ? substr($out, 0, length($out) - $pad) : $out;
}

# Release 0.03: raw key, fixed initialisation vector, spaces as padding.
sub _bare_cbc {
    my ($letter, $key, $data, $sealing) = @_;
    my ($module, undef, undef, $block) = @{ $CIPHER{$letter} };
    my $cipher = $module->new($key);
    my $last = '$KJh#(}q';
    my $out = '';
    $data .= ' ' x ($block - length($data) % $block) if $sealing && length($data) % $block;
    for (my $at = 0; $at + $block <= length $data; $at += $block) {
        my $here = substr($data, $at, $block);
        if ($sealing) {
            $last = $cipher->encrypt($here ^ $last);
            $out .= $last;
        }
        else {
            $out .= $cipher->decrypt($here) ^ $last;
            $last = $here;
        }
    }
    $out =~ s/ +\z// unless $sealing;
    return $out;
}

# ---- field codings -----------------------------------------------------------------------------

sub armour { return join '', map { sprintf '%%%02X', ord } split //, $_[0] }

sub unarmour {
    my $text = shift;
    $text =~ s/%([0-9A-F]{2})/chr hex $1/ge;
    return $text;
}

sub munge { return join '', map { chr(($_ & 15) << 4 | $_ >> 4) } reverse unpack 'C*', $_[0] }

# Whether keys ($what 'EK'), password hashes ('CP') and salts ('CS') are munged with this peer.
sub _munges {
    my ($self, $what) = @_;
    my ($v, $peer) = ($self->{v}, $self->{peer});
    if ($v == 7 || $v == 8) {
        return $what eq 'EK' ? $peer >= 0.07 : 1;
    }
    return 0 if $v < 15 || $what eq 'CS';
    return $peer == 0.07 || $peer == 0.08 || $peer >= 0.15;
}

sub _masked {
    my ($self, $what, $text) = @_;
    return $self->_munges($what) ? munge($text) : $text;
}

sub _key_string {
    my $letter = shift;
    return join '', map { chr(33 + int rand 93) } 1 .. $CIPHER{$letter}[1];
}

sub _reference_of {
    my $s = shift;
    return [ $s, { $s => $s }, [ $s, { $s => $s }, $s ] ];
}

sub _same {
    my ($x, $y) = @_;
    return 0 if ref $x ne ref $y;
    return defined $x && defined $y && $x eq $y if !ref $x;
    if (ref $x eq 'ARRAY') {
        return 0 if @$x != @$y;
        foreach my $i (0 .. $#$x) { _same($x->[$i], $y->[$i]) or return 0 }
        return 1;
    }
    return 0 if ref $x ne 'HASH' || keys %$x != keys %$y;
    foreach my $k (keys %$x) { exists $y->{$k} && _same($x->{$k}, $y->{$k}) or return 0 }
    return 1;
}

sub _module_version {
    my ($self, $module) = @_;
    return $self->{module_version} if defined $self->{module_version};
    _loads($module);
    my $version = $module->VERSION;
    return defined $version ? $version : 'unknown';
}

# ---- the client's side -------------------------------------------------------------------------

my %ANSWER = (
    VE  => [ 7,  \&_answer_ve ],
    COS => [ 20, \&_answer_cos ],
    SVE => [ 15, \&_answer_sve ],
    SVF => [ 15, \&_answer_version_failure ],
    EM  => [ 20, \&_answer_em ],
    EU  => [ 20, \&_answer_eu ],
    EA  => [ 2,  \&_answer_ea ],
    EK  => [ 2,  \&_answer_ek ],
    EVF => [ 8,  \&_answer_version_failure ],
    CM  => [ 20, \&_answer_cm ],
    CU  => [ 20, \&_answer_cu ],
    CA  => [ 2,  \&_answer_ca ],
    CVF => [ 8,  \&_answer_version_failure ],
    CS  => [ 7,  \&_answer_cs ],
    PF  => [ 7,  \&_answer_pf ],
    COF => [ 20, \&_answer_failure ],
    EN  => [ 2,  \&_answer_en ],
);

sub _negotiate_client {
    my $self = shift;
    while (!$self->{done}) {
        my $packet = $self->_next_packet or die "server closed during negotiation\n";
        my ($tag, @fields) = split /\0/, $packet->[1];
        $tag = '' unless defined $tag;
        die "empty command\n" unless $tag;
        push @{ $self->{seen} }, length $tag > 3 ? 'WELCOME' : $tag;
        $self->{welcome_text} = $tag if length $tag > 3;
        $self->{command_sizes}{$tag} = $self->{packet_size};
        my $override = $self->{on_packet} && $self->{on_packet}->($self, $tag, @fields);
        if (defined $override) {
            $self->_command(split /\0/, $override, -1);
            next;
        }
        my $known = $ANSWER{$tag};
        if (!$known || $self->{v} < $known->[0]) {
            $self->_command('NO');
            next;
        }
        $known->[1]->($self, $tag, @fields);
    }
    return 1;
}

sub _answer_ve {
    my ($self, undef, $version) = @_;
    { no warnings 'numeric'; $self->{peer} = defined $version ? $version + 0 : 0; }
    $self->{peer_text} = $version;
    return $self->_command('VE', $self->{version});
}

sub _answer_cos {
    my ($self, undef, $armoured) = @_;
    $self->{scalar} = unarmour($armoured);
    return $self->_command('COS', $armoured);
}

sub _answer_sve {
    my ($self, undef, $version, $image) = @_;
    my $mine = defined $self->{storable_version} ? $self->{storable_version} : $Storable::VERSION;
    return $self->_command('SVE', $mine) if $self->{v} < 20;
    if ($image) {
        my $got = eval { Storable::thaw(unarmour($image)) };
        die "Storable images do not fit\n" unless _same($got, _reference_of($self->{scalar}));
    }
    return $self->_command('SVE', $mine) unless defined $self->{scalar};
    return $self->_command('SVE', $mine,
        armour(Storable::nfreeze(_reference_of($self->{scalar}))));
}

sub _answer_version_failure {
    my ($self, $tag, $version) = @_;
    die "version mismatch: $tag\n" unless $self->{donotcheckversion} && $self->{v} >= 11;
    return $self->_command('NO');
}

sub _answer_failure { die "server reports $_[1]\n" }
sub _answer_pf      { die "password rejected\n" }

sub _owns {
    my ($self, $what, $key) = @_;
    return scalar grep { $_ eq $key } @{ $self->{$what} };
}

sub _declines {
    my ($self, $key) = @_;
    return $self->{declines} && $self->{v} >= 23 && $self->_owns('declines', $key);
}

sub _answer_em {
    my ($self, undef, $key, undef, $private, $sample) = @_;
    return $self->_command('NO', 'none here') if $self->{donotencrypt} || $self->_declines($key);
    delete $self->{cipher};
    if (!$self->_owns('has_cipher', $key)) {
        $self->{imagined}{$key} = 1;    # from now on these releases believe they have it
        return $self->_command('NO', 'unknown');
    }
    my $text = eval { _decrypt($self, $key, unarmour($private), unarmour($sample)) };
    die $@ if $@;
    return $self->_command('NO', 'differs') if !defined $text || $text ne $self->{scalar};
    my $trial = _key_string($key);
    return $self->_command('EM', $key, $self->_module_version($CIPHER{$key}[0]), armour($trial),
        armour(_encrypt($self, $key, $trial, $self->{scalar})));
}

sub _answer_eu {
    my ($self, undef, $key) = @_;
    return $self->_command('NO', 'none here') if $self->{donotencrypt} || $self->_declines($key);
    $self->_command('EU', $key);
    return $self->_choose_cipher($key);
}

sub _choose_cipher {
    my ($self, $key) = @_;
    $self->{cipher} = $key;
    $self->{my_key} = _key_string($key);
    return 1;
}

sub _answer_ea {
    my ($self, undef, @offered) = @_;
    my ($key) = grep { $self->_owns('has_cipher', $_) || $self->{imagined}{$_} } @offered;
    $key = undef if $self->{donotencrypt};
    if (!defined $key) {
        return $self->_command('EU', '', $self->{v} >= 8 ? '' : ());
    }
    my $imagined = !$self->_owns('has_cipher', $key);
    $self->_command('EU', $key,
        $self->{v} < 8 ? () : $imagined ? '' : $self->_module_version($CIPHER{$key}[0]));
    die "imagined a cipher\n" if $imagined;
    return $self->_choose_cipher($key);
}

sub _answer_ek {
    my ($self, undef, $key) = @_;
    $self->{peer_key} = defined $key ? $self->_masked(EK => $key) : '';
    my $mine = defined $self->{my_key} ? $self->{my_key} : '';
    return $self->_command('EK', $self->_masked(EK => $mine));
}

sub _answer_cm {
    my ($self, undef, $key, undef, $sample) = @_;
    return $self->_command('NO', 'none here') if $self->{donotcompress} || $self->_declines($key);
    delete $self->{compressor};
    return $self->_command('NO', 'unknown') unless $self->_owns('has_compressor', $key);
    local $self->{compressor} = $key;
    my $text = $self->_inflate(unarmour($sample));
    return $self->_command_plain('NO', 'differs') if !defined $text || $text ne $self->{scalar};
    my $again = armour($self->_deflate($self->{scalar}));
    return $self->_command_plain('CM', $key, $self->_module_version($COMPRESSOR{$key}), $again);
}

# As _command while a compressor is being tried that is not in effect yet.
sub _command_plain {
    my ($self, @fields) = @_;
    local $self->{compressor};
    return $self->_command(@fields);
}

sub _answer_cu {
    my ($self, undef, $key) = @_;
    return $self->_command('NO', 'none here') if $self->{donotcompress} || $self->_declines($key);
    $self->_command('CU', $key);
    $self->{compressor} = $key;
    return 1;
}

sub _answer_ca {
    my ($self, undef, @offered) = @_;
    my ($key) = grep { $self->_owns('has_compressor', $_) } @offered;
    $key = undef if $self->{donotcompress};
    if (!defined $key) {
        # Up to 0.07 the cipher's key was repeated here by mistake.
        my $stale = $self->{v} <= 7 && defined $self->{cipher} ? $self->{cipher} : '';
        return $self->_command('CU', $stale, $self->{v} >= 8 ? '' : ());
    }
    $self->_command('CU', $key, $self->{v} < 8 ? () : $self->_module_version($COMPRESSOR{$key}));
    $self->{compressor} = $key;
    return 1;
}

sub _answer_cs {
    my ($self, undef, $salt) = @_;
    $salt = $self->_masked(CS => $salt);
    $self->{salt} = $salt;
    my $password = defined $self->{password} ? $self->{password} : '';
    my $hash = crypt($password, $salt);
    $hash = '' unless defined $hash;
    $self->{authenticated} = 1 if $self->{v} >= 15;
    return $self->_command('CP', $self->_masked(CP => $hash));
}

sub _answer_en {
    my $self = shift;
    $self->_command('EN');
    $self->{done} = 1;
    return 1;
}

# ---- the server's side -------------------------------------------------------------------------

sub _negotiate_server {
    my $self = shift;
    $self->{scalar} = join '', map { chr(33 + int rand 93) } 1 .. 129;
    $self->{commands} = [ $self->_server_queue ];
    $self->{on_queue}->($self->{commands}) if $self->{on_queue};
    while (!$self->{done}) {
        my $next = shift @{ $self->{commands} };
        if ($next) {
            # Once a cipher or compressor was settled by trial, the plain offer is not repeated.
            $next = ['NO', 'settled']
                if $next->[0] eq 'EA' && @$next > 1 && $self->{em_done}
                || $next->[0] eq 'CA' && @$next > 1 && $self->{cm_done};
            $next = [ 'EK', $self->_my_public_key ] if $next->[0] eq 'EK';
            $self->_command(@$next);
        }
        $self->{before_reply}->($self, $next ? $next->[0] : '') if $self->{before_reply};
        my $packet = $self->_next_packet or die "client closed during negotiation\n";
        my ($tag, @fields) = split /\0/, $packet->[1];
        $tag = '' unless defined $tag;
        push @{ $self->{seen} }, $tag;
        next if $self->{on_packet} && $self->{on_packet}->($self, $tag, @fields);
        my $code = $self->can("_reply_\L$tag");
        $code->($self, @fields) if $code && $tag =~ /^[A-Z]+\z/;
    }
    return 1;
}

sub _welcome {
    my $self = shift;
    return "\r\n" x 8 . "::  HELLO  ::  OldPeer VERSION $self->{version}  ::  SERVER READY  ::\r\n";
}

sub _server_queue {
    my $self = shift;
    my $v = $self->{v};
    my @salt = $self->_salt_command;
    my @queue;
    push @queue, [ $self->_welcome ] if $v >= 6;
    push @queue, [ 'VE', $self->{version} ] if $v >= 7;
    push @queue, @salt if $v < 11;
    push @queue, [ 'COS', armour($self->{scalar}) ] if $v >= 20;
    my $storable = defined $self->{storable_version} ? $self->{storable_version} : $Storable::VERSION;
    push @queue, [ 'SVE', $v < 20 ? () :
        ($storable, armour(Storable::nfreeze(_reference_of($self->{scalar})))) ] if $v >= 15;
    if (!$self->{donotencrypt} || $v <= 7) {
        push @queue, $self->_trial_ciphers if $v >= 20;
        push @queue, [ 'EA', @{ $self->{has_cipher} } ];
    }
    if (!$self->{donotcompress} || $v <= 7) {
        push @queue, $self->_trial_compressors if $v >= 20;
        push @queue, [ 'CA', $v == 24 || $v == 25 ? () : @{ $self->{has_compressor} } ];
    }
    push @queue, ['EK'] if $v <= 3;
    push @queue, @salt if $v >= 11;
    push @queue, ['EN'];
    return @queue;
}

sub _salt_command {
    my $self = shift;
    return if $self->{v} < 7 || !defined $self->{password};
    return if $self->{v} == 7 && !length $self->{password};
    my $low = $self->{v} >= 18 ? 97 : 46;    # before 0.18 any printable; keep to what crypt() takes
    $self->{salt} = $self->{fixed_salt}
        || ($low == 97 ? join('', map { chr(97 + int rand 25) } 1, 2) : '/Z');
    return [ 'CS', $self->_masked_salt ];
}

# The salt goes out before the peer's version is known in 0.07 and 0.08: always munged there.
sub _masked_salt {
    my $self = shift;
    return $self->{v} == 7 || $self->{v} == 8 ? munge($self->{salt}) : $self->{salt};
}

sub _trial_ciphers {
    my $self = shift;
    my @trials;
    foreach my $key (@{ $self->{has_cipher} }) {
        my $trial = _key_string($key);
        push @trials, [ 'EM', $key, $self->_module_version($CIPHER{$key}[0]), armour($trial),
            armour(_encrypt($self, $key, $trial, $self->{scalar})) ];
    }
    return @trials;
}

sub _trial_compressors {
    my $self = shift;
    my $v = $self->{v};
    return if $v >= 23 && $v <= 25;
    my @trials;
    foreach my $key (@{ $self->{has_compressor} }) {
        local $self->{compressor} = $key;
        my $sample = armour($self->_deflate($self->{scalar}));
        # 0.26 put the name of a Perl handle where the key belongs, and no version.
        push @trials, $v == 26
            ? [ 'CM', sprintf('IO::Socket::INET=GLOB(0x%x)', 0x55550000 + int rand 65536), '', $sample ]
            : [ 'CM', $key, $self->_module_version($COMPRESSOR{$key}), $sample ];
    }
    return @trials;
}

sub _reply_ve {
    my ($self, $version) = @_;
    no warnings 'numeric';
    $self->{peer_text} = $version;
    $self->{peer} = defined $version ? $version + 0 : 0;
    return;
}

sub _reply_cos {
    my ($self, $echo) = @_;
    unshift @{ $self->{commands} }, [ 'COF', 'scalar' ]
        if !defined $echo || unarmour($echo) ne $self->{scalar};
    return;
}

sub _reply_sve {
    my ($self, $version, $image) = @_;
    $self->{peer_storable} = $version;
    if ($self->{v} >= 20 && $image) {
        my $got = Storable::thaw(unarmour($image));    # not guarded: a bad one kills these releases
        $self->{images_agree} = _same($got, _reference_of($self->{scalar}));
        unshift @{ $self->{commands} }, [ 'COF', 'reference' ] unless $self->{images_agree};
        return;
    }
    my $mine = defined $self->{storable_version} ? $self->{storable_version} : $Storable::VERSION;
    unshift @{ $self->{commands} }, [ 'SVF', $mine ] if !defined $version || $version ne $mine;
    return;
}

sub _reply_em {
    my ($self, $key, undef, $private, $sample) = @_;
    my $text = _decrypt($self, $key, unarmour($private), unarmour($sample));
    $self->{em_done} = 1;
    return if !defined $text || $text ne $self->{scalar};
    @{ $self->{commands} } = grep { $_->[0] ne 'EM' } @{ $self->{commands} };
    unshift @{ $self->{commands} }, [ 'EU', $key ];
    $self->{settled} = 1;
    return;
}

sub _reply_eu {
    my ($self, $key, $version) = @_;
    if (defined $key && length $key) {
        die "client uses a cipher that was not offered: $key\n"
            unless $self->_owns('has_cipher', $key);
        $self->_choose_cipher($key);
        my $mine = $self->_module_version($CIPHER{$key}[0]);
        if ($self->{v} >= 8 && !$self->{em_done} && (!defined $version || $version ne $mine)) {
            unshift @{ $self->{commands} }, [ 'EVF', $mine ];
        }
    }
    return if $self->{v} <= 3;
    my @later = $self->{v} < 10 && @{ $self->{commands} } && $self->{commands}[0][0] eq 'EVF'
        ? shift @{ $self->{commands} } : ();
    unshift @{ $self->{commands} }, @later, ['EK'];
    return;
}

sub _my_public_key {
    my $self = shift;
    return defined $self->{my_key} ? $self->_masked(EK => $self->{my_key}) : '';
}

sub _reply_ek {
    my ($self, $key) = @_;
    $self->{peer_key} = defined $key ? $self->_masked(EK => $key) : '';
    return;
}

sub _reply_cm {
    my ($self, $key, undef, $sample) = @_;
    return unless $self->_owns('has_compressor', $key);
    local $self->{compressor} = $key;
    my $text = $self->_inflate(unarmour($sample));
    return if !defined $text || $text ne $self->{scalar};
    $self->{cm_done} = 1;
    @{ $self->{commands} } = grep { $_->[0] ne 'CM' } @{ $self->{commands} };
    unshift @{ $self->{commands} }, [ 'CU', $key ];
    return;
}

sub _reply_cu {
    my ($self, $key, $version) = @_;
    return if !defined $key || !length $key || !$self->_owns('has_compressor', $key);
    $self->{compressor} = $key;
    my $mine = $self->_module_version($COMPRESSOR{$key});
    unshift @{ $self->{commands} }, [ 'CVF', $mine ]
        if $self->{v} >= 8 && !$self->{cm_done} && (!defined $version || $version ne $mine);
    return;
}

sub _reply_cp {
    my ($self, $hash) = @_;
    $hash = '' unless defined $hash;
    $hash = $self->_masked(CP => $hash);
    my $want = crypt($self->{password}, $self->{salt});
    if (defined $want && $hash eq $want) {
        $self->{authenticated} = 1;
        return;
    }
    $self->{authenticated} = 0;
    $self->{refused} = 1;
    unshift @{ $self->{commands} }, ['PF'];
    return;
}

sub _reply_en {
    my $self = shift;
    $self->{after_end} = length $self->{buffer};    # what came in the same read as EN
    my $wants = defined $self->{password} && length $self->{password} && $self->{v} >= 7;
    return if $wants && !$self->{authenticated};
    $self->{done} = 1;
    return;
}

1;
