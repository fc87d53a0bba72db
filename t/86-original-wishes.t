# What original clients must not use, at our server and at the original one: none of it is used, and
# what is used instead is the same. EASYTCP_PEER_LIB as in t/85-original.t.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
my @libs;

BEGIN {
    @libs = grep { length } split /:/, $ENV{EASYTCP_PEER_LIB} || '';
    plan skip_all => 'EASYTCP_PEER_LIB names no original' unless @libs;
    $ENV{EASYTCP_TEST_DEADLINE} ||= 120 + 90 * @libs;
}

use EasyTCPTest;
use Net::EasyTCP;

my @CIPHERS = map { "Crypt::$_" } qw(Rijndael RC6 Blowfish DES_EDE3 DES Twofish2 Twofish TEA CipherSaber RSA);
my @COMPRESSORS = qw(Compress::Zlib Compress::LZF);

sub installed {
    my $module = shift;
    return system($^X, '-e', "exit !eval { require $module; \$${module}::VERSION }") == 0;
}

my @ciphers = grep { installed($_) } @CIPHERS;
my @compressors = grep { installed($_) } @COMPRESSORS;

sub source_of {
    my $lib = shift;
    open my $file, '<', "$lib/Net/EasyTCP.pm" or die "$lib: $!";
    local $/;
    return scalar <$file>;
}

# What both ends say that they use, and how many messages came back as they were.
sub meet {
    my ($lib, $server, $port, @wishes) = @_;
    my @lines = spawn_original($lib, 'client', "port=$port", @wishes)->rest;
    my ($used) = map { /^UP (.*)/ ? $1 : () } @lines;
    my $same = grep { /^SAME/ } @lines;
    my $line = '';
    while (defined($line = $server->line)) { last if $line =~ s/^CONNECT // }
    $server->kill;
    defined $used && $same == 5 && defined $line or diag join "\n", @lines;
    return (defined $used ? $used : 'none', $same, defined $line ? $line : 'none');
}

sub meet_ours {
    my ($lib, @wishes) = @_;
    my $server = spawn_server(callbacks => { connect => sub {
        my @facts = map { defined $_ ? $_ : '-' } $_[0]->encryption, $_[0]->compression;
        $EasyTCPTest::Me->report("CONNECT @facts");
    } });
    return meet($lib, $server, $server->{port}, @wishes);
}

sub meet_original {
    my ($lib, @wishes) = @_;
    # 0.11 serves nobody without Crypt::RSA: another release stands in for it.
    my ($at) = grep { $libs[$_] eq $lib } 0 .. $#libs;
    foreach my $server_lib (@libs[ $at .. $#libs, 0 .. $at - 1 ]) {
        my $server = spawn_original($server_lib, 'server');
        return meet($lib, $server, $1, @wishes) if ($server->line || '') =~ /^PORT (\d+)/;
        $server->kill;
    }
    die "no original server comes up\n";
}

# Clients up to 0.22 have no lists of modules, those before 0.10 name modules that they then do not use.
sub wishes_of {
    my $source = shift;
    my @wishes = ([]);
    push @wishes, ['donotencrypt=1'], ['donotcompress=1'], [ 'donotencrypt=1', 'donotcompress=1' ]
        if $source =~ /donotcompress\b/;
    return @wishes unless $source =~ /donotcompresswith\b/;
    push @wishes, map { ["donotencryptwith=$_"] } @ciphers;
    foreach my $but (0 .. $#ciphers) {
        push @wishes, [ 'donotencryptwith=' . join ',', @ciphers[ grep { $_ != $but } 0 .. $#ciphers ] ];
    }
    push @wishes, [ 'donotencryptwith=' . join ',', @ciphers ];
    push @wishes, map { ["donotcompresswith=$_"] } @compressors if @compressors > 1;
    my $none = 'donotcompresswith=' . join ',', @compressors;
    push @wishes, [$none], [ $none, "donotencryptwith=$ciphers[0]" ],
        [ $none, 'donotencryptwith=' . join ',', @ciphers ] if @ciphers;
    return @wishes;
}

sub is_forbidden {
    my ($kind, $module, @wishes) = @_;
    foreach my $wish (@wishes) {
        my ($name, $modules) = split /=/, $wish;
        next unless $name =~ /$kind/;
        return 1 if $name !~ /with/ || grep { $_ eq $module } split /,/, $modules;
    }
    return 0;
}

# What is used, without what the wishes forbid. Original servers of 0.23 and 0.24 lead clients to what
# they must not use, too, when that is all that is left.
sub allowed_of {
    my ($used, @wishes) = @_;
    my ($cipher, $compressor) = split / /, $used;
    $cipher = '-' if is_forbidden('encrypt', $cipher, @wishes);
    $compressor = '-' if is_forbidden('compress', $compressor, @wishes);
    return "$cipher $compressor";
}

my %count = (same => 0, cells => 0);
foreach my $lib (@libs) {
    my $source = source_of($lib);
    my ($version) = $source =~ /\$VERSION\s*=\s*["'](\d\.\d+)/;
    next if $version < 0.10;
    foreach my $wish (wishes_of($source)) {
        my $name = sprintf '%s client, %s', $version, "@$wish" || 'nothing forbidden';
        my ($theirs) = meet_original($lib, @$wish);
        my ($ours, $same, $server_says) = meet_ours($lib, @$wish);
        # Servers of 0.24 and 0.25 compress nothing.
        $theirs =~ s/ -\z/ $compressors[0]/
            if $version =~ /^0\.2[45]/ && !grep { /compress/ } @$wish;
        my $right = is($ours, allowed_of($ours, @$wish), "$name: nothing forbidden is used");
        $right &= is($ours, allowed_of($theirs, @$wish), "$name: else as at the original server");
        $right &= is($server_says, $ours, "$name: both ends agree");
        $right &= is($same, 5, "$name: all messages arrive");
        $count{same} += $right;
        $count{cells}++;
    }
}
note "$count{same} of $count{cells} as they should be";
done_testing();
