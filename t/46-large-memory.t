# What a large message takes at most at each end. This process itself makes nothing large: what it freed
# would be there for its children, and hide what they take.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

sub text { my ($length, $what) = @_; return substr "$what " x (1 + $length / (1 + length $what)), 0, $length }

my @plain = (donotencrypt => 1, donotcompress => 1);
my @tls   = (donotcompress => 1);
my @zlib  = (donotencrypt => 1, compress => 'always', donotcompresswith => 'Compress::LZF');
my @lzf   = (donotencrypt => 1, compress => 'always', donotcompresswith => 'Compress::Zlib');
my @aes   = (requireencryption => 'Crypt::Rijndael',    donotencryptwith => 'TLS');
my @rc4   = (requireencryption => 'Crypt::CipherSaber', donotencryptwith => 'TLS', donotcompress => 1);

# Resident memory now and at most, in MB.
sub memory {
    open my $file, '<', '/proc/self/status' or return;
    my %size = map { /^(VmHWM|VmRSS):\s+(\d+)/ ? ($1 => $2 / 1024) : () } <$file>;
    return @size{qw(VmRSS VmHWM)};
}

# What each end takes at most, as parts of the message, which make() makes.
sub peaks_of {
    my ($make, @options) = @_;
    my $server = spawn_server(
        @options,
        callbacks => {
            data => sub {
                my $client = shift;
                my ($before) = memory();
                my $message = $client->data;
                return $client->send($before) if !ref $message && $message eq 'how large';
                my ($now, $most) = memory();
                $client->send("$now $most");
            }
        }
    );
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}, @options)
        or die "Cannot connect: $@";
    my ($before) = memory();
    my $message = $make->();
    my ($with) = memory();
    $client->send('how large') or die $@;
    my $server_before = $client->receive;
    $client->send(ref $message eq 'SCALAR' ? $$message : $message) or die $@;
    my (undef, $most) = memory();
    my ($server_with, $server_most) = split ' ', $client->receive;
    $server->kill('TERM');
    return (
        ($most - $before) / ($with - $before),
        ($server_most - $server_before) / ($server_with - $server_before),
    );
}

SKIP: {
    my $strings = sub { [ map { text(64_000, "text $_") } 1 .. 1000 ] };
    my $pages   = sub { [ map { text(8_000, "text $_") } 1 .. 8000 ] };
    my $records = sub { [ map { { number => $_, text => "this is line $_" } } 1 .. 130_000 ] };
    my $text    = sub { my $text = ''; $text .= text(64_000, "text $_") for 1 .. 1000; return \$text };
    my $element = sub { my ($word, @list) = 'text '; $list[0] = $word x 12_800_000; return \@list };
    my @cases   = (
        [ 'plain, strings', $strings, @plain ],
        [ 'plain, records', $records, @plain ],
        [ 'TLS, strings',   $strings, @tls ],
        [ 'TLS, pages',     $pages,   @tls ],
        [ 'TLS, records',   $records, @tls ],
        [ 'zlib, strings',  $strings, @zlib ],
        [ 'LZF, strings',   $strings, @lzf ],
        [ 'plain, a structure of one string', $element, @plain ],
        [ 'TLS, one string',                  $text, @tls ],
        [ 'Crypt::Rijndael, strings',         $strings, @aes, donotcompress => 1 ],
        [ 'Crypt::Rijndael, one string',      $text, @aes, donotcompress => 1 ],
        [ 'Crypt::Rijndael, records',         $records, @aes, donotcompress => 1 ],
        [ 'Crypt::Rijndael, zlib, strings',   $strings, @aes, @zlib[ 2 .. 5 ] ],
        [ 'Crypt::Rijndael, LZF, strings',    $strings, @aes, @lzf[ 2 .. 5 ] ],
        [ 'Crypt::CipherSaber, strings',      $strings, @rc4 ],
        [ 'Crypt::CipherSaber, one string',   $text, @rc4 ],
    );
    skip 'memory is not told here', 2 * @cases if $^O ne 'linux' || !defined((memory())[1]);
    skip 'a sanitizer keeps what is freed', 2 * @cases if ($ENV{LD_PRELOAD} || '') =~ /asan|vgpreload/;
    my $has_tls = tls_usable();
    foreach my $case (@cases) {
        my ($name, $make, @options) = @$case;
        if ($name =~ /^TLS/ && !$has_tls) {
          SKIP: { skip "$name: TLS cannot be had", 2 }
            next;
        }
        # Each in a process of its own, whose peak is its own.
        my $child = spawn(sub { $_[0]->report(join ' ', peaks_of($make, @options)) });
        my ($sender, $receiver) = split ' ', $child->line;
        cmp_ok($sender,   '<', 1.7, "$name: the sender takes little more than the message");
        cmp_ok($receiver, '<', 1.7, "$name: and so does the receiver");
        note(sprintf '%s: %.2f and %.2f', $name, $sender, $receiver);
    }
}

done_testing();
