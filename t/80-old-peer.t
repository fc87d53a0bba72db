# Our client and our server against an independent peer that acts as releases of 0.02 to 0.26, with the
# real cipher and compression modules that are installed here.
use strict;
use warnings;
use Test::More;
use lib 't/lib';

BEGIN { $ENV{EASYTCP_TEST_DEADLINE} ||= 600 }    # peers written in Perl are slow on a busy machine

use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

my @VERSIONS = qw(0.02 0.05 0.06 0.07 0.10 0.14 0.15 0.19 0.20 0.23 0.26);
my $REJECTED = 'Error negotiating with server: Server rejected supplied password';
my $crypt = OldPeer->has_crypt;
my %compressor_name = (1 => 'Compress::Zlib', 2 => 'Compress::LZF');
my @compressors = OldPeer->usable_compressors;
my %usable = map { $_ => 1 } OldPeer->usable_ciphers('0.26');
foreach my $missing (grep { !$usable{$_} } qw(A 9 4 6 5 C D E 2)) {
    SKIP: { skip(OldPeer->cipher_name($missing) . ' is not installed', 1) }
}
SKIP: { skip 'Compress::LZF is not installed', 1 unless grep { $_ eq '2' } @compressors }

# 100 KB take a moment in peers written in Perl: only the last release gets them.
sub messages {
    my $version = shift;
    my $size = $version eq '0.26' ? 102400 : 5000;
    return (
        string => 'hello', hash => { a => 1, b => [ 2, '0', undef ] },
        binary => join('', map { chr((7 * $_ + ($_ >> 8)) & 255) } 1 .. $size),
        zero => '0', empty => '', spaces => 'spaces stay   ',
    );
}

sub same {
    my ($want, $got) = @_;
    return 0 unless defined $got && ref $want eq ref $got;
    return $want eq $got unless ref $want;
    return $got->{a} == 1 && $got->{b}[0] == 2 && $got->{b}[1] eq '0' && !defined $got->{b}[2];
}

sub facts { return join ' ', map { defined $_ ? $_ : '-' } $_[0]->encryption, $_[0]->compression }

# ---- the two directions ------------------------------------------------------------------------

# Both ends send every message and get it back from an echo. What went wrong is the result.
sub lost {
    my ($end, $version) = @_;
    my @messages = messages($version);
    my @lost;
    while (my ($name, $value) = splice @messages, 0, 2) {
        $end->send($value) or push(@lost, "$name not sent: $@"), last;
        push @lost, $name unless same($value, scalar $end->receive);
    }
    return "@lost";
}

# Our client, their server: "encryption compression", or the reason why not.
sub meet_server {
    my ($version, $theirs, $ours) = @_;
    my $peer = spawn_peer(sub {
        my ($me, $peer) = @_;
        $me->report(facts($peer));
        while (defined(my $message = $peer->receive)) { $peer->send($message) }
        $me->report('CLOSED');
    }, version => $version, %$theirs);
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $peer->{port},
        compressing($ours), %$ours);
    my @result = ($@);
    if ($client) {
        @result = (facts($client), $peer->line, lost($client, $version));
        $client->close;
        push @result, $peer->line;
    }
    $peer->kill;
    return @result;
}

# All that can be compressed is: on one machine nothing would be.
sub compressing {
    my $ours = shift;
    return $ours->{donotcompress} ? () : (compress => 'always');
}

# Their client, our server.
sub meet_client {
    my ($version, $theirs, $ours) = @_;
    my $server = spawn_server(compressing($ours), %$ours, callbacks => {
        connect    => sub { $EasyTCPTest::Me->report(facts($_[0])) },
        disconnect => sub { $EasyTCPTest::Me->report('CLOSED') },
    });
    my $peer = OldPeer->client(version => $version, port => $server->{port}, %$theirs);
    my @result = (OldPeer->error);
    if ($peer) {
        @result = (facts($peer), $server->line, lost($peer, $version));
        $peer->close;
        push @result, $server->line;
    }
    $server->kill;
    return @result;
}

sub works {
    my ($name, $version, $facts, $theirs, $ours) = @_;
    is_deeply([ meet_server($version, $theirs, $ours) ], [ $facts, $facts, '', 'CLOSED' ],
        "$version server, $name");
    is_deeply([ meet_client($version, $theirs, $ours) ], [ $facts, $facts, '', 'CLOSED' ],
        "$version client, $name");
    return;
}

# ---- without and with modules ------------------------------------------------------------------

# 0.07 has one letter for two ciphers; nobody after it knows which is meant.
sub name_of {
    my $letter = shift;
    return $letter eq '7' ? '-' : OldPeer->cipher_name($letter);
}

# Each cipher alone meets the releases that changed what concerns it: keys masked or not, the password
# in them or not, trials or not.
my %thorough = map { $_ => 1 } qw(0.02 0.05 0.07 0.10 0.15 0.26);

foreach my $version (@VERSIONS) {
    works('plain', $version, '- -', {}, {});
    works('plain, refused', $version, '- -', {}, { donotencrypt => 1, donotcompress => 1 });
    foreach my $key (@compressors) {
        works($compressor_name{$key}, $version, "- $compressor_name{$key}", { compressors => [$key] }, {});
    }
    my %password = $crypt ? (password => 'open sesame') : ();
    foreach my $cipher ($thorough{$version} ? OldPeer->usable_ciphers($version) : ()) {
        my $name = name_of($cipher);
        foreach my $container ($cipher eq '2' ? 'C2' : qw(C2 C1)) {
            my %theirs = (ciphers => [$cipher], container => $container);
            my $title = OldPeer->cipher_name($cipher) . ($container eq 'C1' ? ' of old Crypt::CBC' : '');
            works($title, $version, "$name -", \%theirs, {});
            next if !$crypt || $version < 0.07;    # a server of ours would not let them in
            works("$title, password", $version, "$name -", { %theirs, %password }, \%password);
        }
        next unless $crypt && $version >= 0.07 && @compressors;
        my $all = "$name $compressor_name{ $compressors[0] }";
        works("$all, password", $version, $all,
            { ciphers => [$cipher], compressors => [ $compressors[0] ], %password }, \%password);
    }
    # All at once: which one is taken is up to the old peer's order.
    my ($first) = OldPeer->usable_ciphers($version);
    my @all = (ciphers => [ OldPeer->usable_ciphers($version) ], compressors => \@compressors);
    if (defined $first && $first ne '7' && @compressors) {
        my $both = OldPeer->cipher_name($first) . " $compressor_name{ $compressors[0] }";
        works('everything', $version, $both, {@all}, {});
        works('other versions of its modules', $version, $both, { @all, module_version => '9.99' }, {});
        works('everything and a password', $version, $both, { @all, %password }, \%password)
            if $crypt && $version >= 0.07;
        works('everything, refused here', $version, '- -', {@all}, { donotencrypt => 1, donotcompress => 1 });
    }
}

# ---- old clients that must not use a module ------------------------------------------------------

# They choose from a list as if they might, and say no when they are asked about the one they chose.
sub declined {
    my ($name, $version, $facts, $theirs, @letters) = @_;
    is_deeply([ meet_client($version, { %$theirs, declines => \@letters }, {}) ],
        [ $facts, $facts, '', 'CLOSED' ],
        "$version client that must not use $name");
    return;
}

foreach my $version (qw(0.23 0.24 0.25 0.26)) {
    my @ciphers = OldPeer->usable_ciphers($version);
    my $zlib = @compressors ? $compressor_name{ $compressors[0] } : '-';
    my %all = (ciphers => \@ciphers, compressors => \@compressors);
    SKIP: {
        skip 'less than two cipher modules are installed', 3 unless @ciphers > 1;
        declined('its first cipher', $version, OldPeer->cipher_name($ciphers[1]) . " $zlib", \%all,
            $ciphers[0]);
        declined('all ciphers but the last', $version, OldPeer->cipher_name($ciphers[-1]) . " $zlib", \%all,
            @ciphers[ 0 .. $#ciphers - 1 ]);
        declined('any cipher', $version, "- $zlib", \%all, @ciphers);
    }
    SKIP: {
        skip 'no compressor is installed', 2 unless @compressors;
        my $first = @ciphers ? OldPeer->cipher_name($ciphers[0]) : '-';
        declined('any compressor', $version, "$first -", \%all, @compressors);
        declined('anything', $version, '- -', \%all, @ciphers, @compressors);
    }
}

# ---- passwords ---------------------------------------------------------------------------------

sub rejected {
    my ($name, $version, $theirs, $ours) = @_;
    is((meet_server($version, $theirs, $ours))[0], $REJECTED, "$version server, $name");
    is((meet_client($version, $theirs, $ours))[0], 'password rejected', "$version client, $name");
    return;
}

SKIP: {
    skip 'no traditional crypt() here', 1 unless $crypt;
    foreach my $version (grep { $_ >= 0.07 } @VERSIONS) {
        works('password', $version, '- -', { password => 'sesame' }, { password => 'sesame' });
        works('password 0', $version, '- -', { password => '0' }, { password => '0' });
        works('the first eight characters count', $version, '- -', { password => 'sesame sam' },
            { password => 'sesame street' });
        rejected('wrong password', $version, { password => 'sesame' }, { password => 'simsim' });
        is((meet_server($version, { password => 'sesame' }, {}))[0], "$REJECTED: none was supplied",
            "$version server, none given");
        is((meet_client($version, {}, { password => 'sesame' }))[0], 'password rejected',
            "$version client, none given");
        is((meet_server($version, {}, { password => 'sesame' }))[0], '- -', "$version server, not asked for");
        is((meet_client($version, { password => 'sesame' }, {}))[0], '- -', "$version client, not asked for");
    }
    # 0.07 did not ask for an empty one yet.
    foreach my $version (grep { $_ >= 0.10 } @VERSIONS) {
        works('empty password', $version, '- -', { password => '' }, { password => '' });
        works('empty for none', $version, '- -', {}, { password => '' });
        works('none for empty', $version, '- -', { password => '' }, {});
        rejected('not empty', $version, { password => '' }, { password => 'sesame' });
        rejected('empty', $version, { password => 'sesame' }, { password => '' });
    }
    # Releases that know no passwords: their servers let everyone in, their clients cannot get in.
    foreach my $version (grep { $_ < 0.07 } @VERSIONS) {
        is((meet_server($version, { password => 'sesame' }, { password => 'simsim' }))[0], '- -',
            "$version server knows no passwords");
        like((meet_client($version, { password => 'sesame' }, { password => 'sesame' }))[0],
            qr/^(?:server closed|OldPeer: cannot)/, "$version client cannot give one");
        is((meet_client($version, {}, { password => '' }))[0], '- -', "$version client needs none");
    }
}

# ---- options that demand -----------------------------------------------------------------------

foreach my $version (@VERSIONS) {
    my ($cipher) = grep { $_ ne '7' } OldPeer->usable_ciphers($version);
    like((meet_server($version, {}, { requireencryption => 1 }))[0], qr/encryption is required/i,
        "$version server without a cipher, but one required");
    like((meet_client($version, {}, { requireencryption => 1 }))[0], qr/^(?:server closed|OldPeer: cannot)/,
        "$version client without a cipher, but one required");
    SKIP: {
        skip 'no cipher module to be the peer with', 2 unless defined $cipher;
        works('a cipher, and required', $version, OldPeer->cipher_name($cipher) . ' -',
            { ciphers => [$cipher] }, { requireencryption => 1 });
    }
}

done_testing();
